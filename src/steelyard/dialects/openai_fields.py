"""The checks of single request fields, as a table. Source: openai-compatible.md 3.1, errors.md 2.1."""

from collections.abc import Callable
from typing import Any

from steelyard.base.errors import fault

MAX_SEED = 2**31 - 1
Check = Callable[[Any], None]


def _number(field: str, slug: str, is_within: Callable[[float], bool]) -> Check:
    def check(value: Any) -> None:
        if type(value) is not float and type(value) is not int:
            raise fault("parameter_type", param=field, field=field, type="Float")
        if not is_within(value):
            raise fault(slug, param=field)

    return check


def integer(field: str, slug: str, is_within: Callable[[int], bool], limit: object = "") -> Check:
    """A whole number within a range."""

    def check(value: Any) -> None:
        if not _is_whole(value):
            raise fault("parameter_type", param=field, field=field, type="Integer")
        if not is_within(value):
            raise fault(slug, param=field, limit=limit)

    return check


def _is_whole(value: Any) -> bool:
    # JSON has one number type: 7.0 is a whole number too
    return type(value) is int or (type(value) is float and value.is_integer())


def boolean(field: str) -> Check:
    """True or false."""

    def check(value: Any) -> None:
        if type(value) is not bool:
            raise fault("parameter_type", param=field, field=field, type="Boolean")

    return check


def _object(field: str) -> Check:
    def check(value: Any) -> None:
        if type(value) is not dict:
            raise fault("parameter_type", param=field, field=field, type="Object")

    return check


def _seed(value: Any) -> None:
    if not _is_whole(value):
        raise fault("seed_type", param="seed")
    if value < 0:
        raise fault("seed_range", param="seed", value=value, relation="lesser than the minimum", bound=0)
    if value > MAX_SEED:
        raise fault("seed_range", param="seed", value=value, relation="greater than the maximum", bound=MAX_SEED)


def _stop(value: Any) -> None:
    if type(value) is str:
        return
    kinds = {type(item) for item in value} if type(value) is list else {None}
    if len(kinds) > 1 or not kinds <= {str, int, list}:
        raise fault("stop_type", param="stop")
    if kinds == {list} and not all(type(token) is int for item in value for token in item):
        raise fault("stop_type", param="stop")


def _stream_options(value: Any) -> None:
    _object("stream_options")(value)
    include = value.get("include_usage")
    if include is not None:
        boolean("stream_options.include_usage")(include)


def _response_format(value: Any) -> None:
    if type(value) is not dict or value.get("type") not in ("text", "json_object", "json_schema"):
        kind = value.get("type") if type(value) is dict else type(value).__name__
        raise fault("response_format_invalid", param="response_format", type=kind)
    if value["type"] == "json_schema":
        schema = value.get("json_schema")
        if type(schema) is not dict or type(schema.get("name")) is not str:
            raise fault("response_format_invalid", param="response_format.json_schema", type="json_schema")
        if type(schema.get("schema", {})) is not dict:
            raise fault("response_format_invalid", param="response_format.json_schema.schema", type="json_schema")


def _tools(value: Any) -> None:
    if type(value) is not list:
        raise fault("tools_invalid", param="tools")
    for index, tool in enumerate(value):
        function = tool.get("function") if type(tool) is dict else None
        if type(function) is not dict or type(function.get("name")) is not str or not function["name"]:
            raise fault("tools_invalid", param=f"tools[{index}]", detail=f" (tools[{index}])")
        if function["name"] == "search":
            raise fault("tool_name_reserved", param=f"tools[{index}].function.name")
        if type(function.get("parameters") or {}) is not dict:
            raise fault("tools_invalid", param=f"tools[{index}].function.parameters", detail=f" (tools[{index}])")


def _tool_choice(value: Any) -> None:
    if value in ("auto", "none", "required"):
        return
    function = value.get("function") if type(value) is dict else None
    if type(function) is not dict or type(function.get("name")) is not str:
        raise fault("tool_choice_invalid", param="tool_choice")


def _modalities(value: Any) -> None:
    if type(value) is not list or not all(type(item) is str for item in value):
        raise fault("parameter_type", param="modalities", field="modalities", type="Array of String")


def _positive(field: str, slug: str) -> Check:
    return integer(field, slug, lambda v: v >= 1, limit="model max")


SAMPLING: dict[str, Check] = {
    "temperature": _number("temperature", "temperature_range", lambda v: 0 <= v < 2),
    "top_p": _number("top_p", "top_p_range", lambda v: 0 < v <= 1),
    "top_k": integer("top_k", "top_k_range", lambda v: v >= 0),
    "presence_penalty": _number("presence_penalty", "presence_penalty_range", lambda v: -2 <= v <= 2),
    "frequency_penalty": _number("frequency_penalty", "frequency_penalty_range", lambda v: -2 <= v <= 2),
    "repetition_penalty": _number("repetition_penalty", "repetition_penalty_range", lambda v: v > 0),
    "seed": _seed,
    "stop": _stop,
    "stream": boolean("stream"),
    "stream_options": _stream_options,
    "n": integer("n", "n_range", lambda v: 1 <= v <= 4),
    "max_tokens": _positive("max_tokens", "max_tokens_range"),
}

CHAT: dict[str, Check] = {
    **SAMPLING,
    "max_completion_tokens": _positive("max_completion_tokens", "max_tokens_range"),
    "logprobs": boolean("logprobs"),
    "top_logprobs": integer("top_logprobs", "top_logprobs_range", lambda v: 0 <= v <= 5),
    "response_format": _response_format,
    "tools": _tools,
    "tool_choice": _tool_choice,
    "parallel_tool_calls": boolean("parallel_tool_calls"),
    "enable_thinking": boolean("enable_thinking"),
    "thinking_budget": _positive("thinking_budget", "thinking_budget_range"),
    "enable_search": boolean("enable_search"),
    "modalities": _modalities,
}


def check_fields(body: dict[str, Any], checks: dict[str, Check]) -> None:
    """Runs the check of each field present; null means absent; unknown fields pass."""
    for name, value in body.items():
        if value is not None and (check := checks.get(name)) is not None:
            check(value)


def get_model(body: dict[str, Any]) -> str:
    """The model name.

    Raises:
        Fault: `model_missing` where it is absent, null, empty or no string.
    """
    model = body.get("model")
    if type(model) is not str or not model.strip():
        raise fault("model_missing", param="model")
    return model


def get_output_cap(body: dict[str, Any]) -> int | None:
    """The caller's cap on the answer; the newer name wins."""
    cap = body.get("max_completion_tokens")
    if cap is None:
        cap = body.get("max_tokens")
    return None if cap is None else int(cap)
