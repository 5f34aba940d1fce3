"""Native image services, asynchronous ones and the synchronous one on multimodal-generation. Source: dashscope.md 6, 8 and 9."""

from typing import Any

import msgspec

from steelyard.base.errors import fault
from steelyard.canon.request import ModelRequest
from steelyard.canon.task import IMAGE, TaskAsk
from steelyard.dialects import dashscope_errors, dashscope_tasks
from steelyard.dialects.dashscope_fields import decode_envelope, rewrite_content
from steelyard.dialects.dashscope_media import (
    IMAGE_FIELDS,
    check_link,
    link_of,
    links_of,
    read_size,
    text_of,
    wishes_of,
)
from steelyard.dialects.dialect import Rewrite, TaskOperation
from steelyard.dialects.openai_fields import check_fields

#: How long a prompt is read; what is longer is cut, as the vendor does.
MAX_PROMPT_CHARS = 2100
#: How many pictures a model makes where nobody says it: these make one, all others four.
_ONE = ("qwen-image", "wan2.5-i2i", "wanx2.1-imageedit", "qwen-image-edit")
#: Services that tell results as choices.
MESSAGES_SERVICES = ("image-generation", "multimodal-generation")
#: What may name a picture to begin from, beside `images`.
_PICTURES = ("base_image_url", "ref_img", "sketch_image_url", "mask_image_url", "image_url")


def wants_task(headers: dict[bytes, bytes]) -> bool:
    """Whether the task itself is asked for; else its end is waited for, as `sync_call` expects."""
    return headers.get(b"x-dashscope-async", b"").lower() == b"enable"


def _decode(raw: bytes, _headers: dict[bytes, bytes]) -> ModelRequest:
    body, model, asked, parameters = decode_envelope(raw)
    check_fields(parameters, IMAGE_FIELDS)
    ask_of(body, model, asked, parameters, "text2image")
    # the call takes no tokens: what its task costs is held when it is submitted
    return ModelRequest(operation="images", model=model, raw=b"", decoded=body, api="", own_settings=parameters, n=0)


def ask_of(
    body: dict[str, Any], model: str, asked: dict[str, Any], parameters: dict[str, Any], service: str
) -> TaskAsk:
    """What is asked, whichever way the service writes it.

    Raises:
        Fault: there is no prompt, or a field is malformed.
    """
    prompt, images = _from_messages(asked["messages"]) if asked.get("messages") else _from_input(asked)
    if not prompt and not images:
        raise fault("field_missing", field="input.prompt", param="input.prompt")
    n = parameters.get("n")
    return TaskAsk(
        kind=IMAGE,
        model=model,
        api="dashscope",
        service=service,
        prompt=prompt[:MAX_PROMPT_CHARS],
        negative_prompt=text_of(asked, "negative_prompt") or text_of(parameters, "negative_prompt"),
        n=default_count(model) if n is None else int(n),
        size=read_size(parameters.get("size")),
        seed=parameters.get("seed"),
        images=images,
        settings={name: parameters[name] for name in ("prompt_extend", "watermark") if name in parameters},
        body={name: body[name] for name in ("input", "parameters") if name in body},
    )


def default_count(model: str) -> int:
    """How many pictures a model makes where nobody says it."""
    return 1 if model.lower().startswith(_ONE) else 4


def _from_input(asked: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    single = tuple(link for name in _PICTURES if (link := link_of(asked, name)))
    return text_of(asked, "prompt"), (*links_of(asked, "images"), *single)


def _from_messages(messages: Any) -> tuple[str, tuple[str, ...]]:
    """The prompt and the pictures of the user's message."""
    if type(messages) is not list or not all(type(one) is dict for one in messages):
        raise fault("parameter_type", field="input.messages", type="Array", param="input.messages")
    texts, images = [], []
    for message in messages:
        content = message.get("content")
        if type(content) is str:
            texts.append(content)
            continue
        for part in content if type(content) is list else ():
            if type(part) is not dict:
                raise fault("message_invalid", param="input.messages", detail=" (a part must be an object)")
            if type(part.get("text")) is str:
                texts.append(part["text"])
            if part.get("image"):
                check_link(part["image"], "input.messages.image")
                images.append(part["image"])
    return "\n".join(texts), tuple(images)


def _rewrite(request: ModelRequest, rewrite: Rewrite) -> ModelRequest:
    asked = dict(request.body["input"])
    for name in ("prompt", "negative_prompt"):
        if type(asked.get(name)) is str:
            asked[name] = rewrite(asked[name])
    if asked.get("messages"):
        asked["messages"] = [
            {**one, "content": rewrite_content(one["content"], rewrite)} if "content" in one else one
            for one in asked["messages"]
        ]
    if asked == request.body["input"]:
        return request
    return msgspec.structs.replace(request, decoded={**request.body, "input": asked})


def _image(service: str, *paths: str) -> TaskOperation:
    def ask(request: ModelRequest, headers: dict[bytes, bytes]) -> TaskAsk:
        body = request.body
        made = ask_of(body, request.model, body["input"], body.get("parameters") or {}, service)
        return msgspec.structs.replace(made, **wishes_of(headers))

    return TaskOperation(
        api="dashscope",
        operation="images",
        paths=paths,
        decode=_decode,
        rewrite_request=_rewrite,
        render_error=dashscope_errors.render,
        ask=ask,
        is_async=wants_task,
        show=dashscope_tasks.show_submitted,
    )


TEXT2IMAGE = _image("text2image", "/api/v1/services/aigc/text2image/image-synthesis")
IMAGE2IMAGE = _image("image2image", "/api/v1/services/aigc/image2image/image-synthesis")
GENERATION = _image("image-generation", "/api/v1/services/aigc/image-generation/generation")
#: Reached through the chat operation of the same path, by the model's kind.
MULTIMODAL = _image("multimodal-generation")

OPERATIONS = (TEXT2IMAGE, IMAGE2IMAGE, GENERATION)
__all__ = ["MULTIMODAL", "OPERATIONS", "ask_of", "default_count", "wants_task"]
