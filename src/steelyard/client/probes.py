"""The availability test: one probe per capability, each with its verdict, cause and cure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from steelyard.base.explain import explain
from steelyard.client.api import Client
from steelyard.client.errors import ApiError

OK, STAND_IN, FAILED, ABSENT = "ok", "stand-in", "failed", "absent"
_SAY_HI = [{"role": "user", "content": "Say hi."}]
_WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@dataclass(slots=True)
class Verdict:
    """What a probe found."""

    probe: str
    result: str
    #: English and Chinese
    detail: tuple[str, str]
    cure: tuple[str, str] = ("", "")
    body: Any = None
    request_id: str | None = None


def _by_stand_in(headers: Any) -> bool:
    return str(headers.get("x-steelyard-target", "")).startswith("local/")


def _verdict(probe: str, headers: Any, model: str, detail: tuple[str, str], body: Any = None) -> Verdict:
    """A vendor's name that a local model answered is never a plain OK."""
    if _by_stand_in(headers) and not model.startswith("local/"):
        target = headers["x-steelyard-target"]
        told = (f"stand-in: {target} answered for {model}. {detail[0]}", f"替身：由 {target} 代答 {model}。{detail[1]}")
        cure = ("Configure a provider to reach the vendor's model.", "配置提供方后才会调用厂商模型。")
        return Verdict(probe, STAND_IN, told, cure, body, headers.get("x-request-id"))
    return Verdict(probe, OK, detail, body=body, request_id=headers.get("x-request-id"))


def probe_auth(client: Client, model: str) -> Verdict:
    """The key is accepted."""
    client.get("models")
    return Verdict("auth", OK, ("The key is accepted.", "密钥有效。"))


def probe_models(client: Client, model: str) -> Verdict:
    """The list has the model."""
    answer = client.get("models")
    names = [one["id"] for one in answer.json().get("data", [])]
    if model in names:
        detail = (f"{len(names)} models; {model} is among them.", f"共 {len(names)} 个模型，包含 {model}。")
        return Verdict("models", OK, detail, body=answer.json())
    some = ", ".join(names[:5])
    told = (f"{len(names)} models, but not {model}.", f"共 {len(names)} 个模型，但没有 {model}。")
    return Verdict("models", FAILED, told, (f"Choose one with --model: {some}", f"用 --model 选择：{some}"))


def probe_chat(client: Client, model: str) -> Verdict:
    """A plain answer with usage."""
    answer = client.post("chat/completions", {"model": model, "messages": _SAY_HI, "max_tokens": 16})
    body = answer.json()
    if not body.get("choices"):
        return Verdict("chat", FAILED, ("The answer has no choices.", "回答中没有 choices。"), body=body)
    tokens = (body.get("usage") or {}).get("total_tokens", 0)
    return _verdict("chat", answer.headers, model, (f"{tokens} tokens.", f"{tokens} 个 token。"), body)


def probe_stream(client: Client, model: str) -> Verdict:
    """A streamed answer."""
    count = 0
    body = {"model": model, "messages": _SAY_HI, "max_tokens": 16, "stream_options": {"include_usage": True}}
    with client.stream("chat/completions", body) as (headers, events):
        for _ in events:
            count += 1
    if not count:
        return Verdict("stream", FAILED, ("The stream had no events.", "流中没有事件。"))
    return _verdict("stream", headers, model, (f"{count} events.", f"{count} 个事件。"))


def probe_tools(client: Client, model: str) -> Verdict:
    """A tool call."""
    asked = {
        "model": model,
        "messages": [{"role": "user", "content": "What is the weather in Hangzhou? Use the tool."}],
        "tools": [_WEATHER],
        "max_tokens": 64,
    }
    answer = client.post("chat/completions", asked)
    message = answer.json()["choices"][0]["message"]
    if message.get("tool_calls"):
        name = message["tool_calls"][0]["function"]["name"]
        return _verdict("tools", answer.headers, model, (f"It called {name}.", f"调用了 {name}。"))
    told = ("Tools are accepted, the model answered in words.", "接受工具，但模型用文字作答。")
    return _verdict("tools", answer.headers, model, told)


def _optional(name: str, path: str, body: dict[str, Any] | None = None) -> Callable[[Client, str], Verdict]:
    """A capability that an endpoint may lack without being broken."""

    def probe(client: Client, model: str) -> Verdict:
        try:
            answer = client.get(path) if body is None else client.post(path, body)
        except ApiError as error:
            if error.status in (404, 405) or (error.status == 400 and "not supported" in error.message):
                told = (f"Not offered here ({error.status}).", f"此处不提供（{error.status}）。")
                return Verdict(name, ABSENT, told)
            raise
        return _verdict(name, answer.headers, str((body or {}).get("model", "")), ("Answers.", "有应答。"))

    return probe


PROBES: dict[str, Callable[[Client, str], Verdict]] = {
    "auth": probe_auth,
    "models": probe_models,
    "chat": probe_chat,
    "stream": probe_stream,
    "tools": probe_tools,
    "embeddings": _optional("embeddings", "embeddings", {"model": "text-embedding-v4", "input": "hi"}),
    "images": _optional("images", "images/generations", {"model": "wanx-v1", "prompt": ""}),
    "tasks": _optional("tasks", "/api/v1/tasks/"),
    "files": _optional("files", "files"),
}


def run_probe(name: str, client: Client, model: str) -> Verdict:
    """Runs one probe; whatever goes wrong becomes a verdict with cause and cure."""
    try:
        return PROBES[name](client, model)
    except ApiError as error:
        return failure_of(name, error)
    except (KeyError, IndexError, TypeError, ValueError) as exc:
        told = f"The answer has an unexpected shape ({type(exc).__name__}: {exc})."
        return Verdict(name, FAILED, (told, "回答的结构不符合预期。"))


def failure_of(name: str, error: ApiError) -> Verdict:
    """A refusal as a verdict."""
    if error.status == 0:
        cure = ("Is the server running? Check the address.", "服务是否已启动？请检查地址。")
        return Verdict(name, FAILED, (error.message, f"无法连接：{error.message}"), cure)
    found = explain(error.body) or explain(str(error.status))
    cure = found[0].row.cure if found else ("", "")
    cause = found[0].row.cause if found else ("", "")
    detail = (
        f"{error.status}: {error.message} {cause[0]}".strip(),
        f"{error.status}：{error.message} {cause[1]}".strip(),
    )
    return Verdict(name, FAILED, detail, cure, request_id=error.request_id)
