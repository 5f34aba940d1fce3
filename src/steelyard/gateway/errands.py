"""Calls that are made of calls: which ones are, and what goes along to the app host.

The app host is a target like any other, so what holds for calls holds for these: limits, inspection, idempotency, streams. What
its answers are made of are calls of their own, admitted and settled one by one; the call itself takes no tokens and no money.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from steelyard.base.errors import Fault, fault
from steelyard.canon.apps import APP_PREFIX, Errand
from steelyard.canon.grant import Grant, Workspace
from steelyard.canon.model import PASS, Model, Target
from steelyard.canon.request import ModelRequest
from steelyard.dialects import app_host
from steelyard.dialects.dashscope_apps import session_of

PLUGIN_HEADER = b"x-dashscope-plugin"
MAX_NAMED = 50
#: The longest that an app may take, and a while to say so.
TOTAL_S = 630.0
CHUNK_S = 630.0


class Errands:
    """Tells the calls that go to the app host.

    Args:
        socket: where it listens.
    """

    def __init__(self, socket: Path) -> None:
        target = Target(
            provider="apps",
            model="host",
            api=app_host.API,
            base_url=f"unix:{socket}:",
            operations=("chat", "apps"),
            capabilities=("tools", "image", "audio", "video", "search", "thinking", "logprobs"),
            is_local=True,
            is_composite=True,
            has_breaker=False,
            first_byte_timeout_s=TOTAL_S,
            chunk_timeout_s=CHUNK_S,
            total_timeout_s=TOTAL_S,
        )
        # one attempt: what has been done for the first would be done again, and charged again; what a model cannot honour is said
        # of the call to it
        self.model = Model(name="apps", targets=(target,), max_attempts=1, unsupported=PASS)

    def find(
        self, request_id: str, grant: Grant, workspace: Workspace, request: ModelRequest, headers: dict[bytes, bytes]
    ) -> Errand | None:
        """What a call carries to the app host; None for a call of a model alone.

        Raises:
            Fault: there is no such app.
        """
        if request.model.startswith(APP_PREFIX):
            return self._of_app(request_id, grant, workspace, request)
        if request.operation != "chat" or grant.is_inner:
            return None
        header = headers.get(PLUGIN_HEADER)
        if header is None and not workspace.tools and not request.servers:
            return None
        asked = workspace.tools if header is None else _named(header)
        tools = tuple(one for one in asked if one.partition("/")[0] in workspace.plugins)
        if not tools and not request.servers:
            # a native vendor's own plugins: the header goes along to it
            return None
        if request.n > 1:
            raise fault("n_with_tools", param="n")
        return Errand(request_id=request_id, grant=grant, tools=tools, servers=request.servers)

    def _of_app(self, request_id: str, grant: Grant, workspace: Workspace, request: ModelRequest) -> Errand:
        app_id = request.model.removeprefix(APP_PREFIX)
        if app_id not in workspace.apps or grant.is_inner:
            raise _no_app(request, app_id)
        if request.n > 1:
            raise fault("parameter_invalid", detail="An app gives one answer: n must be 1.", param="n")
        if request.operation == "apps":
            session = session_of(request, request_id)
        else:
            session = request.settings.get("session_id") or ""
            if type(session) is not str or len(session) > 100:
                raise fault("parameter_type", param="session_id", field="session_id", type="String")
        return Errand(request_id=request_id, grant=grant, app=app_id, session=session, servers=request.servers)


def _no_app(request: ModelRequest, app_id: str) -> Fault:
    if request.operation == "apps":
        return fault("app_not_found", id=app_id[:100], param="app_id")
    return fault("model_not_found", model=request.model[:100], param="model")


def _named(header: bytes) -> tuple[str, ...]:
    """The plugins that a header names: one name, names with commas, or JSON (a list, or an object by name)."""
    text = header.decode("utf-8", "replace").strip()
    try:
        value: Any = msgspec.json.decode(text) if text[:1] in ("[", "{", '"') else text.split(",")
    except msgspec.DecodeError:
        raise fault("parameter_invalid", detail="X-DashScope-Plugin is no JSON.", param="X-DashScope-Plugin") from None
    names = value.split(",") if isinstance(value, str) else list(value)
    return tuple(one.strip() for one in names[:MAX_NAMED] if isinstance(one, str) and one.strip())
