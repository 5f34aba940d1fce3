"""POST /services/aigc/text-generation/generation and …/multimodal-generation/generation. Source: dashscope.md 5 and 6."""

import functools

from steelyard.base.jsondoor import decode_object
from steelyard.canon.request import ModelRequest
from steelyard.dialects import dashscope_codec, dashscope_errors, dashscope_fields, dashscope_images, dashscope_speech
from steelyard.dialects.codec import Codec
from steelyard.dialects.crossing import open_crossing_tap
from steelyard.dialects.dashscope_pieces import NativeReader, NativeTap, NativeWriter
from steelyard.dialects.dialect import Dialect, Operation, OperationsOf, Showing, StreamTap

#: Operations of other models on the multimodal path.
_OTHERS = {"images": dashscope_images.MULTIMODAL, "speech": dashscope_speech.QWEN}


def _generation(service: str, *, is_multimodal: bool) -> Dialect:
    path = f"/services/aigc/{service}/generation"
    codec = Codec(
        read_request=dashscope_codec.read_request,
        write_answer=functools.partial(dashscope_codec.write_answer, is_multimodal=is_multimodal),
        write_request=functools.partial(dashscope_codec.write_request, is_multimodal=is_multimodal),
        read_answer=dashscope_codec.read_answer,
        open_reader=NativeReader,
        open_writer=functools.partial(NativeWriter, is_multimodal=is_multimodal),
        carries=dashscope_codec.CARRIES,
        lacks=dashscope_codec.LACKS,
    )

    def open_tap(showing: Showing) -> StreamTap:
        # texts are looked at as pieces: a frame may repeat all that was said
        return NativeTap(showing) if showing.cutter is None else open_crossing_tap(dialect, dialect, showing)

    def suits(request: ModelRequest, model: str) -> bool:
        return dashscope_codec.belongs_to_multimodal(request, model) == is_multimodal

    def diverts(raw: bytes, _headers: dict[bytes, bytes], operations_of: OperationsOf) -> Operation | None:
        # models of pictures and of speech are asked on the same path
        model = decode_object(raw).get("model")
        operations = operations_of(model) if type(model) is str else ()
        if "chat" in operations:
            return None
        return next((other for name, other in _OTHERS.items() if name in operations), None)

    dialect = Dialect(
        api="dashscope",
        operation="chat",
        paths=("/api/v1" + path,),
        upstream_path=path,
        decode=dashscope_fields.decode,
        encode=dashscope_fields.encode_same,
        read_reply=dashscope_codec.read_reply,
        show_reply=dashscope_codec.show_reply,
        open_tap=open_tap,
        read_refusal=dashscope_errors.read_refusal,
        rewrite_request=dashscope_fields.rewrite_request,
        rewrite_reply=dashscope_codec.rewrite_reply,
        render_error=dashscope_errors.render,
        codec=codec,
        takes_links=True,
        suits=suits,
        diverts=diverts if is_multimodal else None,
    )
    return dialect


TEXT = _generation("text-generation", is_multimodal=False)
MULTIMODAL = _generation("multimodal-generation", is_multimodal=True)
