"""Speech to text (POST /services/audio/asr/transcription, always a task) and text to speech (…/audio/tts/SpeechSynthesizer, and qwen-tts on
the multimodal path, both waited for). Source: dashscope.md 6 and 14.
"""

from typing import Any

import msgspec

from steelyard.base.errors import fault
from steelyard.canon.request import ModelRequest
from steelyard.canon.task import SPEECH, TRANSCRIPTION, TaskAsk
from steelyard.dialects import dashscope_errors, dashscope_tasks
from steelyard.dialects.dashscope_fields import decode_envelope, wants_stream
from steelyard.dialects.dashscope_images import wants_task
from steelyard.dialects.dashscope_media import link_of, links_of, text_of, wishes_of
from steelyard.dialects.dialect import Rewrite, TaskOperation
from steelyard.dialects.openai_fields import Check, check_fields

MAX_FILES = 100
MAX_CHARS = 10_000
FORMATS = ("wav", "pcm", "mp3")


def _decode(raw: bytes, headers: dict[bytes, bytes]) -> ModelRequest:
    """A call for texts of speech.

    Raises:
        Fault: the first thing wrong, with the field; `sync_not_supported` where no task is asked for.
    """
    if not wants_task(headers):
        raise fault("sync_not_supported")
    body, model, asked, parameters = decode_envelope(raw)
    if not _links(asked):
        raise fault("field_missing", field="input.file_urls", param="input.file_urls")
    _hints(parameters)
    # what it takes is counted in seconds, once they are known
    return ModelRequest(
        operation="transcription",
        model=model,
        raw=b"",
        decoded=body,
        api="",
        own_settings=parameters,
        n=0,
        message_count=0,
    )


def _links(asked: dict[str, Any]) -> tuple[str, ...]:
    """`file_urls` of most models, `file_url` of Qwen's."""
    if asked.get("file_urls") is None:
        one = link_of(asked, "file_url")
        return (one,) if one else ()
    links = links_of(asked, "file_urls")
    if len(links) > MAX_FILES:
        raise fault("parameter_invalid", detail=f"file_urls takes {MAX_FILES} links at most.", param="input.file_urls")
    return links


def _hints(parameters: dict[str, Any]) -> tuple[str, ...]:
    """`language_hints` of most models, `language` of Qwen's."""
    hints = parameters.get("language_hints") or parameters.get("language") or []
    hints = [hints] if type(hints) is str else hints
    if type(hints) is not list or not all(type(one) is str for one in hints):
        raise fault(
            "parameter_type", field="parameters.language_hints", type="Array", param="parameters.language_hints"
        )
    return tuple(hints)


def _ask(request: ModelRequest, headers: dict[bytes, bytes]) -> TaskAsk:
    body = request.body
    return TaskAsk(
        kind=TRANSCRIPTION,
        model=request.model,
        api="dashscope",
        service="transcription",
        files=_links(body["input"]),
        settings={"language_hints": list(_hints(request.settings))},
        body={name: body[name] for name in ("input", "parameters", "resources") if name in body},
        **wishes_of(headers),
    )


TRANSCRIPTIONS = TaskOperation(
    api="dashscope",
    operation="transcription",
    paths=("/api/v1/services/audio/asr/transcription",),
    decode=_decode,
    rewrite_request=lambda request, _rewrite: request,
    render_error=dashscope_errors.render,
    ask=_ask,
    is_async=wants_task,
    show=dashscope_tasks.show_submitted,
)


# text to speech


def _format(value: Any) -> None:
    if value not in FORMATS:
        raise fault("parameter_invalid", detail=f"format must be one of {', '.join(FORMATS)}.", param="input.format")


def _number(name: str, least: float, most: float) -> Check:
    def check(value: Any) -> None:
        if type(value) not in (int, float) or not least <= value <= most:
            raise fault(
                "parameter_invalid", detail=f"Range of {name} should be [{least:g}, {most:g}]", param=f"input.{name}"
            )

    return check


#: Of `input`, beside the text.
SPEECH_FIELDS: dict[str, Check] = {
    "format": _format,
    "sample_rate": _number("sample_rate", 8_000, 48_000),
    "volume": _number("volume", 0, 100),
    "rate": _number("rate", 0.5, 2),
    "pitch": _number("pitch", 0.5, 2),
}
_SETTINGS = (*SPEECH_FIELDS, "voice", "language_type")


def _decode_text(raw: bytes, headers: dict[bytes, bytes]) -> ModelRequest:
    """A call for speech.

    Raises:
        Fault: the first thing wrong, with the field.
    """
    body, model, asked, parameters = decode_envelope(raw)
    if wants_stream(headers):
        raise fault("not_supported", what="a stream of speech; leave X-DashScope-SSE out", param="stream")
    text = text_of(asked, "text")
    if not text.strip():
        raise fault("field_missing", field="input.text", param="input.text")
    if len(text) > MAX_CHARS:
        raise fault("parameter_invalid", detail=f"input.text takes {MAX_CHARS} characters at most.", param="input.text")
    text_of(asked, "voice")
    check_fields(asked, SPEECH_FIELDS)
    return ModelRequest(operation="speech", model=model, raw=b"", decoded=body, api="", own_settings=parameters, n=0)


def _rewrite_text(request: ModelRequest, rewrite: Rewrite) -> ModelRequest:
    asked = request.body["input"]
    changed = {**asked, "text": rewrite(asked["text"])}
    return msgspec.structs.replace(request, decoded={**request.body, "input": changed})


def _speech(service: str, *paths: str) -> TaskOperation:
    def ask(request: ModelRequest, headers: dict[bytes, bytes]) -> TaskAsk:
        body = request.body
        asked = body["input"]
        return TaskAsk(
            kind=SPEECH,
            model=request.model,
            api="dashscope",
            service=service,
            prompt=asked["text"],
            settings={name: asked[name] for name in _SETTINGS if asked.get(name) is not None},
            body={name: body[name] for name in ("input", "parameters") if name in body},
            **wishes_of(headers),
        )

    return TaskOperation(
        api="dashscope",
        operation="speech",
        paths=paths,
        decode=_decode_text,
        rewrite_request=_rewrite_text,
        render_error=dashscope_errors.render,
        ask=ask,
        is_async=wants_task,
        show=dashscope_tasks.show_submitted,
    )


SYNTHESIS = _speech("tts", "/api/v1/services/audio/tts/SpeechSynthesizer")
#: Reached through the chat operation of the same path, by the model's kind.
QWEN = _speech("qwen-tts")
