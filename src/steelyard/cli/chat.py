"""`steelyard chat`."""

import sys
from typing import Annotated

from cyclopts import Parameter

from steelyard.base.errors import SetupFault
from steelyard.base.explain import explain
from steelyard.cli.context import find_endpoint, print_json
from steelyard.client.api import Client
from steelyard.client.errors import ApiError


def chat(
    model: str,
    prompt: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    *,
    system: str | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
    profile: str | None = None,
    json: bool = False,
) -> None:
    """Ask a model, here or at any vendor; without a prompt it goes on until the input ends.

    Parameters
    ----------
    model
        The model's name.
    prompt
        What to ask; `-` reads standard input.
    system
        A system message.
    base_url
        Address of the endpoint; default the server of this machine.
    api_key
        Its key.
    profile
        A kept endpoint and key.
    json
        Print the whole answer as JSON, not streamed.
    """
    endpoint = find_endpoint(base_url, api_key, profile)
    messages = [{"role": "system", "content": system}] if system else []
    with Client(endpoint) as client:
        try:
            if prompt is not None:
                text = sys.stdin.read() if prompt == "-" else prompt
                _ask(client, model, [*messages, {"role": "user", "content": text}], as_json=json)
                return
            _converse(client, model, messages)
        except ApiError as error:
            found = explain(error.body) if error.body else []
            cure = f" {found[0].row.cure[0]}" if found else ""
            raise SetupFault(f"{error.status or 'No answer'}: {error.message}{cure}") from None


def _converse(client: Client, model: str, messages: list[dict[str, str]]) -> None:
    while True:
        try:
            text = input("> " if sys.stdin.isatty() else "")
        except EOFError:
            return
        if text.strip():
            messages.append({"role": "user", "content": text})
            messages.append({"role": "assistant", "content": _ask(client, model, messages, as_json=False)})


def _ask(client: Client, model: str, messages: list[dict[str, str]], *, as_json: bool) -> str:
    body = {"model": model, "messages": messages}
    if as_json:
        print_json(client.post("chat/completions", body).json())
        return ""
    parts = []
    with client.stream("chat/completions", {**body, "stream_options": {"include_usage": True}}) as (headers, events):
        target = headers.get("x-steelyard-target", "")
        if target.startswith("local/") and not model.startswith("local/"):
            print(f"(stand-in: {target} answers for {model} 替身应答)", file=sys.stderr)
        for event in events:
            for choice in event.get("choices") or []:
                piece = choice.get("delta", {}).get("content") or ""
                parts.append(piece)
                print(piece, end="", flush=True)
    print()
    return "".join(parts)
