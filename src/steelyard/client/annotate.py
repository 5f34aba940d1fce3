"""What each field of an answer means, in English and Chinese."""

from typing import Any

FIELDS: dict[str, tuple[str, str]] = {
    "id": ("the answer's id", "回答的编号"),
    "object": ("the kind of object", "对象类型"),
    "created": ("when it was made, Unix seconds", "生成时间，Unix 秒"),
    "model": ("the model's name as asked for", "所请求的模型名"),
    "system_fingerprint": ("back-end version; null here", "后端版本标识，此处为 null"),
    "service_tier": ("service class", "服务等级"),
    "choices": ("the answers, one per n", "回答列表，每个 n 一项"),
    "choices.index": ("number of the answer, from 0", "回答序号，从 0 起"),
    "choices.finish_reason": (
        "why it ended: stop, length (cut by max_tokens), tool_calls",
        "结束原因：stop 正常、length 达到 max_tokens、tool_calls 调用工具",
    ),
    "choices.logprobs": ("log-probabilities, if asked for", "对数概率，需显式请求"),
    "choices.message": ("the message", "消息"),
    "choices.message.role": ("who speaks: assistant", "角色：assistant"),
    "choices.message.content": ("the text, often Markdown", "正文，常为 Markdown"),
    "choices.message.reasoning_content": ("the model's thinking", "思考过程"),
    "choices.message.tool_calls": ("tools that the model wants called", "模型要求调用的工具"),
    "usage": ("tokens of this call", "本次调用的 token 用量"),
    "usage.prompt_tokens": ("tokens of your input", "输入 token 数"),
    "usage.completion_tokens": ("tokens of the answer", "输出 token 数"),
    "usage.total_tokens": ("both together", "合计"),
    "usage.prompt_tokens_details": ("details of the input", "输入明细"),
    "usage.prompt_tokens_details.cached_tokens": ("input tokens served from a cache", "命中缓存的输入 token 数"),
    "usage.completion_tokens_details": ("details of the answer", "输出明细"),
}


def annotate(body: Any, path: str = "") -> list[tuple[str, str, tuple[str, str]]]:
    """(field, value as text, meaning) for each field, in order."""
    rows: list[tuple[str, str, tuple[str, str]]] = []
    if isinstance(body, list):
        return [row for item in body[:1] for row in annotate(item, path)]
    if not isinstance(body, dict):
        return rows
    for name, value in body.items():
        inner = f"{path}.{name}" if path else name
        is_nested = isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict))
        shown = "" if is_nested else repr(value)[:60]
        rows.append((inner, shown, FIELDS.get(inner, ("", ""))))
        if is_nested:
            rows += annotate(value, inner)
    return rows
