"""Native video services: from text, from a first frame, from a first and a last one. Source: dashscope.md 10."""

from typing import Any

import msgspec

from steelyard.base.errors import fault
from steelyard.canon.request import ModelRequest
from steelyard.canon.task import VIDEO, TaskAsk
from steelyard.dialects import dashscope_errors, dashscope_tasks
from steelyard.dialects.dashscope_fields import decode_envelope
from steelyard.dialects.dashscope_images import wants_task
from steelyard.dialects.dashscope_media import (
    VIDEO_FIELDS,
    check_link,
    link_of,
    links_of,
    read_size,
    text_of,
    wishes_of,
)
from steelyard.dialects.dialect import Rewrite, TaskOperation
from steelyard.dialects.openai_fields import check_fields

MAX_PROMPT_CHARS = 1500
#: Where a first and a last frame may stand.
_FIRST = ("img_url", "first_frame_url", "head_frame")
_LAST = ("last_frame_url", "tail_frame")
_OTHERS = ("audio_url", "reference_url")


def decode(raw: bytes, headers: dict[bytes, bytes]) -> ModelRequest:
    """A video call.

    Raises:
        Fault: the first thing wrong; `sync_not_supported` where no task is asked for.
    """
    if not wants_task(headers):
        raise fault("sync_not_supported")
    body, model, asked, parameters = decode_envelope(raw)
    check_fields(parameters, VIDEO_FIELDS)
    ask_of(body, model, asked, parameters, "video-generation")
    return ModelRequest(operation="videos", model=model, raw=b"", decoded=body, api="", own_settings=parameters, n=0)


def ask_of(
    body: dict[str, Any], model: str, asked: dict[str, Any], parameters: dict[str, Any], service: str
) -> TaskAsk:
    """What is asked.

    Raises:
        Fault: there is neither a prompt nor a frame, or a field is malformed.
    """
    media = _media(asked.get("media"))
    first = link_of(asked, *_FIRST) or media.get("first_frame", "")
    last = link_of(asked, *_LAST) or media.get("last_frame", "")
    others = [link_of(asked, name) for name in _OTHERS]
    references = (*links_of(asked, "reference_urls"), *links_of(asked, "reference_video_urls"))
    more = [link for kind, link in media.items() if kind not in ("first_frame", "last_frame")]
    prompt = text_of(asked, "prompt")
    if not prompt and not first:
        raise fault("field_missing", field="input.prompt", param="input.prompt")
    duration = parameters.get("duration")
    return TaskAsk(
        kind=VIDEO,
        model=model,
        api="dashscope",
        service=service,
        prompt=prompt[:MAX_PROMPT_CHARS],
        negative_prompt=text_of(asked, "negative_prompt"),
        first_frame=first,
        last_frame=last,
        files=tuple(link for link in (*others, *references, *more) if link),
        size=read_size(parameters.get("size")),
        resolution=(parameters.get("resolution") or "").upper(),
        duration_s=None if duration is None else int(duration),
        fps=parameters.get("fps"),
        seed=parameters.get("seed"),
        settings={name: parameters[name] for name in ("prompt_extend", "watermark") if name in parameters},
        body={name: body[name] for name in ("input", "parameters") if name in body},
    )


def _media(value: Any) -> dict[str, str]:
    """`media: [{"type", "url"}]` of newer models, by type."""
    if value is None:
        return {}
    if type(value) is not list or not all(type(one) is dict for one in value):
        raise fault("parameter_type", field="input.media", type="Array", param="input.media")
    for one in value:
        check_link(one.get("url"), "input.media.url")
    return {str(one.get("type")): one["url"] for one in value}


def rewrite(request: ModelRequest, change: Rewrite) -> ModelRequest:
    """See `Operation`."""
    asked = dict(request.body["input"])
    for name in ("prompt", "negative_prompt"):
        if type(asked.get(name)) is str:
            asked[name] = change(asked[name])
    return msgspec.structs.replace(request, decoded={**request.body, "input": asked})


def _video(service: str, path: str) -> TaskOperation:
    def ask(request: ModelRequest, headers: dict[bytes, bytes]) -> TaskAsk:
        body = request.body
        made = ask_of(body, request.model, body["input"], body.get("parameters") or {}, service)
        return msgspec.structs.replace(made, **wishes_of(headers))

    return TaskOperation(
        api="dashscope",
        operation="videos",
        paths=(path,),
        decode=decode,
        rewrite_request=rewrite,
        render_error=dashscope_errors.render,
        ask=ask,
        is_async=wants_task,
        show=dashscope_tasks.show_submitted,
    )


OPERATIONS = (
    _video("video-generation", "/api/v1/services/aigc/video-generation/video-synthesis"),
    _video("image2video", "/api/v1/services/aigc/image2video/video-synthesis"),
)
