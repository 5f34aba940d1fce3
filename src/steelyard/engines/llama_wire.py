"""Between the vendor's wire and llama.cpp's: what a call asks of the engine, and what its pieces are called. Pure."""

from dataclasses import dataclass
from typing import Any

import msgspec

from steelyard.base.errors import Fault, fault
from steelyard.engines.catalogue import EmbeddedModel
from steelyard.engines.tool_calls import call_schema

#: Passed on as they are.
_SAME = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "logit_bias", "max_tokens", "seed")
_FIM = "<|fim_prefix|>{prefix}<|fim_suffix|>{suffix}<|fim_middle|>"
#: A top_k above this switches it off.
MAX_TOP_K = 100


@dataclass(frozen=True, slots=True)
class Wish:
    """One call as the engine takes it."""

    path: str
    body: dict[str, Any]
    n: int
    #: Tools whose calls must be found in the text, and whether the text can be nothing but a call.
    tools: list[dict[str, Any]]
    is_constrained: bool
    many_calls: bool


def chat_wish(body: dict[str, Any], model: EmbeddedModel) -> Wish:
    """What a chat call asks of the engine."""
    choice = body.get("tool_choice") or "auto"
    tools = [] if choice == "none" else list(body.get("tools") or [])
    only = choice["function"]["name"] if isinstance(choice, dict) else None
    is_constrained = bool(tools) and choice != "auto"
    asked = _sampling(body, model)
    asked["messages"] = [_message(one) for one in body["messages"]]
    if body.get("logprobs"):
        asked |= {"logprobs": True, "top_logprobs": int(body.get("top_logprobs") or 0)}
    if is_constrained:
        schema = call_schema(tools, only)
        asked["response_format"] = {"type": "json_schema", "json_schema": {"name": "call", "schema": schema}}
        asked["messages"] = _with_tools_told(asked["messages"], tools)
    elif tools:
        asked["messages"] = _with_tools_told(asked["messages"], tools)
    elif body.get("response_format"):
        asked["response_format"] = _response_format(body["response_format"])
    many = body.get("parallel_tool_calls") is True
    return Wish("/v1/chat/completions", asked, int(body.get("n") or 1), tools, is_constrained, many)


def messages_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    """A conversation as the engine's template takes it."""
    return [_message(one) for one in body["messages"]]


def completion_wish(body: dict[str, Any], model: EmbeddedModel) -> Wish:
    """What a completions call asks of the engine; a suffix makes it fill in the middle."""
    asked = _sampling(body, model)
    prompt, suffix = body["prompt"], body.get("suffix")
    asked["prompt"] = _FIM.format(prefix=prompt, suffix=suffix) if suffix else prompt
    return Wish("/v1/completions", asked, int(body.get("n") or 1), [], is_constrained=False, many_calls=False)


def _sampling(body: dict[str, Any], model: EmbeddedModel) -> dict[str, Any]:
    asked: dict[str, Any] = dict(model.sampling)
    asked |= {name: body[name] for name in _SAME if body.get(name) is not None}
    if body.get("max_completion_tokens") is not None:
        asked["max_tokens"] = body["max_completion_tokens"]
    asked.setdefault("max_tokens", model.default_output_tokens)
    if body.get("repetition_penalty") is not None:
        asked["repeat_penalty"] = body["repetition_penalty"]
    if "top_k" in body:
        top_k = body["top_k"]
        asked["top_k"] = 0 if top_k is None or top_k > MAX_TOP_K else int(top_k)
    if stop := body.get("stop"):
        asked["stop"] = [stop] if isinstance(stop, str) else [text for text in stop if isinstance(text, str)]
    return asked | {"stream": True, "stream_options": {"include_usage": True}, "cache_prompt": True}


def _message(message: dict[str, Any]) -> dict[str, Any]:
    kept = {name: message[name] for name in ("tool_calls", "tool_call_id", "name") if message.get(name)}
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(part["text"] for part in content)
    role = "system" if message["role"] == "developer" else message["role"]
    return {"role": role, "content": content or "", **kept}


def _with_tools_told(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The tools in the system message, in the form that Qwen2.5 was trained on."""
    signatures = "\n".join(msgspec.json.encode(tool).decode() for tool in tools)
    told = (
        "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
        "You are provided with function signatures within <tools></tools> XML tags:\n"
        f"<tools>\n{signatures}\n</tools>\n\n"
        "For each function call, return a json object with function name and arguments within "
        '<tool_call></tool_call> XML tags:\n<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
    )
    if messages[0]["role"] == "system":
        first = {**messages[0], "content": f"{messages[0]['content']}\n\n{told}"}
        return [first, *messages[1:]]
    return [{"role": "system", "content": f"You are a helpful assistant.\n\n{told}"}, *messages]


def _response_format(asked: dict[str, Any]) -> dict[str, Any]:
    if asked["type"] != "json_schema":
        return {"type": asked["type"]}
    named = asked["json_schema"]
    return {"type": "json_schema", "json_schema": {"name": named["name"], "schema": named.get("schema") or {}}}


def engine_fault(error: dict[str, Any], model: EmbeddedModel) -> Fault:
    """llama.cpp's error as ours."""
    message = str(error.get("message", ""))
    if error.get("type") == "exceed_context_size_error" or "context size" in message:
        return fault("input_too_long", limit=model.context_tokens)
    if "schema" in message.lower() or "grammar" in message.lower():
        return fault("json_schema_invalid", detail=message[-300:], param="response_format")
    if error.get("code") == 400:
        return fault("parameter_invalid", detail=message[:300] or "The engine refused the request.")
    return fault("inference_error", detail=f" ({message[:200]})" if message else "")


def logprobs_of(entry: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The vendor's shape of log-probabilities: token, bytes, logprob, top_logprobs."""
    return [
        {**_logprob(one), "top_logprobs": [_logprob(top) for top in one.get("top_logprobs", [])]}
        for one in (entry or {}).get("content") or []
    ]


def _logprob(one: dict[str, Any]) -> dict[str, Any]:
    return {"token": one["token"], "bytes": one.get("bytes"), "logprob": one["logprob"]}
