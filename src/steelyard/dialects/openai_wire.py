"""What chat and completions share on the wire: the upstream body, and the reading of whole answers."""

import msgspec

from steelyard.base.errors import fault
from steelyard.base.jsondoor import encode
from steelyard.canon.request import ModelRequest
from steelyard.canon.usage import Usage
from steelyard.dialects.dialect import Reply, Showing
from steelyard.dialects.openai_errors import fault_in_event
from steelyard.dialects.openai_stream import usage_from


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = 0


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = 0


class _Counts(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _Answer(msgspec.Struct):
    # empty where the field is absent; a Raw takes no part in unions
    choices: msgspec.Raw = msgspec.Raw(b"")
    usage: _Counts | None = None
    error: msgspec.Raw = msgspec.Raw(b"")


_decode_answer = msgspec.json.Decoder(_Answer).decode


def encode_request(request: ModelRequest, model: str, cap_tokens: int | None) -> bytes:
    """The body for an upstream: the caller's own bytes where nothing must change.

    Args:
        cap_tokens: the cap to send in place of the caller's; None leaves it.
    """
    caps = cap_tokens is not None and cap_tokens != request.output_cap_tokens
    if model == request.model and not caps:
        if not request.is_stream or request.wants_usage:
            return request.raw
        if "stream_options" not in request.body:
            start = request.raw.index(b"{") + 1
            return b'{"stream_options":{"include_usage":true},' + request.raw[start:]
    body = dict(request.body, model=model)
    if caps:
        body["max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"] = cap_tokens
    if request.is_stream:
        body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    return encode(body)


def read_reply(body: bytes) -> Reply:
    """What matters of a whole answer.

    Raises:
        Fault: `bad_gateway` where it is no answer at all.
    """
    try:
        answer = _decode_answer(body)
    except msgspec.ValidationError:
        return _read_loosely(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise fault("bad_gateway", detail=" (The answer is not valid JSON.)") from exc
    choices, counts = answer.choices, answer.usage
    if _is_absent(choices):
        return _without_choices(body, answer.error)
    if counts is None:
        return Reply(None, answer_bytes=len(choices))
    prompt, completion = counts.prompt_tokens_details, counts.completion_tokens_details
    usage = Usage(
        prompt_tokens=counts.prompt_tokens,
        completion_tokens=counts.completion_tokens,
        cached_tokens=(prompt.cached_tokens or 0) if prompt else 0,
        reasoning_tokens=(completion.reasoning_tokens or 0) if completion else 0,
    )
    return Reply(usage, answer_bytes=len(choices))


def _is_absent(raw: msgspec.Raw) -> bool:
    return len(raw) in (0, 4) and bytes(raw) in (b"", b"null")


def _without_choices(body: bytes, error: msgspec.Raw) -> Reply:
    if not _is_absent(error):
        return Reply(None, fault_in_event(msgspec.json.decode(body)))
    raise fault("bad_gateway", detail=" (The answer has no choices.)")


def _read_loosely(body: bytes) -> Reply:
    """An answer whose usage is not of the documented types: what can be read of it counts."""
    answer = msgspec.json.decode(body)
    if not isinstance(answer, dict) or not isinstance(answer.get("choices"), list):
        raise fault("bad_gateway", detail=" (The answer has no choices.)")
    counts = answer.get("usage")
    return Reply(usage_from(counts) if isinstance(counts, dict) else None, answer_bytes=len(body))


def show_reply(body: bytes, showing: Showing) -> bytes:
    """The answer under the name that the caller used."""
    if showing.model is None:
        return body
    decoded = msgspec.json.decode(body)
    decoded["model"] = showing.model
    return encode(decoded)
