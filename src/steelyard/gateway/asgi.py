"""The ASGI face of the gateway: model calls that missed the fast lane, model lists, health, and what goes to the face.

This is the one list of paths: what is public, what takes an admin key, and what answers them.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, unquote

from steelyard.base import ids
from steelyard.base.errors import Fault, fault
from steelyard.canon.apps import APP_PREFIX
from steelyard.canon.grant import Grant
from steelyard.canon.task import OPERATION_OF
from steelyard.dialects import (
    anthropic_errors,
    anthropic_messages,
    anthropic_models,
    bailian_errors,
    bailian_wire,
    dashscope_apps,
    dashscope_errors,
    dashscope_models,
    mcp_errors,
    openai_errors,
    openai_models,
    page_errors,
    prometheus_errors,
)
from steelyard.dialects.dialect import Operation
from steelyard.gateway.admission import with_bearer
from steelyard.gateway.core import Core
from steelyard.gateway.exchange import Headers
from steelyard.gateway.face_link import FaceLink
from steelyard.gateway.idempotency import once_of, wants_no_replay
from steelyard.gateway.ports import StoredAnswer
from steelyard.policy.meter import UNKNOWN

log = logging.getLogger("steelyard.gateway")

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

#: Signed addresses, and so public: links to objects, what the native policy uploads to, and leases to upload.
SIGNED_PREFIXES = ("/o/", "/api/v1/uploads/form", "/leases/")
#: Paths that need no key. Nothing else is public.
PUBLIC_PATHS = ("/healthz", "/readyz", "/errors", "/openapi")
PUBLIC_PREFIXES = ("/errors/", "/openapi/", "/static/", *SIGNED_PREFIXES)
#: What the face answers, and who may ask: its console checks its own session.
FACE_PREFIXES = ("/control/v1/", "/metrics", "/errors", "/openapi", *page_errors.PREFIXES, "/static/")
SESSION_PREFIXES = page_errors.PREFIXES
#: Paths that an api key may use too, for its own workspace; the face narrows the answer.
OWN_WORKSPACE_PREFIXES = ("/control/v1/usage", "/control/v1/requests/")
#: Of these too, where the key is good for the operation.
KNOWLEDGE_PREFIXES = ("/control/v1/knowledge-bases", "/control/v1/search")
#: What the monitor answers: to an admin everything, to an api key what is its workspace's. Basic authentication is taken too.
MONITOR_PREFIX = "/prometheus/"
#: What the face answers to any key that is good for the operation.
FACE_OPERATIONS = {"/api/v1/tokens": "tokens"}
#: Plugins and apps as MCP servers.
MCP_PREFIX, MCP = "/mcp/", "mcp"
#: Knowledge bases, by whichever API.
KNOWLEDGE = "knowledge"
#: Operations that make tasks.
TASK_OPERATIONS = tuple(name for name in OPERATION_OF.values() if name != KNOWLEDGE)
#: What the face answers to keys that may do one of the operations: path, or all below it, and the operations. Of several, a key that
#: is good for any may ask: whoever may submit tasks may ask about them.
FACE_PATHS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("/api/v1/tasks", TASK_OPERATIONS),
    ("/api/v1/uploads", ("files", *TASK_OPERATIONS, "chat")),
    ("/api/v1/files", ("files",)),
    ("/v1/files", ("files",)),
    ("/compatible-mode/v1/files", ("files",)),
    ("/v1/vector_stores", (KNOWLEDGE,)),
    ("/compatible-mode/v1/vector_stores", (KNOWLEDGE,)),
    ("/api/v1/indices", (KNOWLEDGE,)),
    ("/api/v1/connector/dash", (KNOWLEDGE,)),
    ("/v1/batches", ("batches",)),
    ("/compatible-mode/v1/batches", ("batches",)),
    ("/v1/videos", ("videos",)),
    ("/compatible-mode/v1/videos", ("videos",)),
)
#: Of these the bodies flow through; all others are held whole, and bounded by [server] max_body_bytes.
STREAMED_PREFIXES = (
    "/o/",
    "/api/v1/files",
    "/v1/files",
    "/compatible-mode/v1/files",
    "/api/v1/uploads/form",
    "/leases/",
    "/v1/videos/",
)
#: Stored responses: who may make them may read and delete them.
RESPONSE_PREFIXES = ("/v1/responses/", "/compatible-mode/v1/responses/")
#: What the vendor has and this server does not: one fixed error for each, and a line in docs/not-supported.
NOT_SUPPORTED = (
    ("/api/v1/fine-tunes", "fine-tuning"),
    ("/api/v1/deployments", "deployments of models"),
    ("/api/v1/assistants", "assistants"),
    ("/api/v1/threads", "assistants' threads"),
    ("/api/v1/services/audio/tts/", "speech synthesis by this path"),
    ("/api/v1/public-keys/", "encryption of bodies (TLS does it)"),
    ("/api-ws/", "WebSocket"),
)
#: A form's worth: nothing public takes more.
MAX_PUBLIC_BODY_BYTES = 65_536
#: Longer ones go to the face as a body.
MAX_RELAYED_QUERY = 8_192
#: Events of a stream that may wait for a slow ASGI server before the upstream is paused.
HIGH_WATER = 64


class AsgiExchange:
    """An exchange over ASGI. Sends are queued; a full queue is pressure."""

    is_posted = False

    def __init__(self, scope: Scope, path: str, headers: dict[bytes, bytes], body: bytes) -> None:
        self.path = path
        self.headers = headers
        self.client: str | None = (scope.get("client") or (None,))[0]
        self.body = body
        self.is_disconnected = False
        self.on_disconnect: Callable[[], None] | None = None
        self.on_pressure: Callable[[bool], None] | None = None
        self._is_started = False
        self._messages: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    def send(self, status: int, headers: Headers, body: bytes) -> None:
        """See `Exchange`."""
        if self._is_started:
            self.abort()
            return
        self.start(status, [*headers, (b"content-length", str(len(body)).encode())])
        self.end(body)

    def start(self, status: int, headers: Headers) -> None:
        """See `Exchange`."""
        self._is_started = True
        self._messages.put_nowait({"type": "http.response.start", "status": status, "headers": headers})

    def write(self, data: bytes) -> None:
        """See `Exchange`."""
        self._messages.put_nowait({"type": "http.response.body", "body": data, "more_body": True})
        if self._messages.qsize() == HIGH_WATER and self.on_pressure is not None:
            self.on_pressure(True)

    def end(self, data: bytes = b"") -> None:
        """See `Exchange`."""
        self._messages.put_nowait({"type": "http.response.body", "body": data, "more_body": False})
        self._messages.put_nowait(None)

    def break_off(self, data: bytes) -> None:
        """See `Exchange`."""
        self.end(data)

    def abort(self) -> None:
        """See `Exchange`: without a last part uvicorn cuts the connection."""
        self._messages.put_nowait(None)

    async def pump(self, send: Send) -> None:
        """Carries what is queued to the server until the answer has ended."""
        while (message := await self._messages.get()) is not None:
            await send(message)
            if self._messages.qsize() == HIGH_WATER // 2 and self.on_pressure is not None:
                self.on_pressure(False)

    async def watch(self, receive: Receive) -> None:
        """Waits for the client to leave."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self.is_disconnected = True
        if self.on_disconnect is not None:
            self.on_disconnect()
        self._messages.put_nowait(None)


class App:
    """The ASGI application of a gateway process."""

    def __init__(
        self,
        core: Core,
        dialects: dict[str, Operation],
        face: FaceLink,
        is_ready: Callable[[], bool],
        *,
        max_file_bytes: int,
    ) -> None:
        self._max_file_bytes = max_file_bytes
        self._core = core
        self._dialects = dialects
        self._face = face
        self._is_ready = is_ready

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        path = scope["path"]
        request_id = ids.new_request_id()
        if path.startswith(MONITOR_PREFIX):
            headers = with_bearer(headers)
        try:
            if path in ("/healthz", "/readyz"):
                await self._health(path, send)
                return
            if scope["method"] == "OPTIONS" and path.startswith(MONITOR_PREFIX):
                # a browser asks so before it sends a key
                cors = [(name.encode(), value.encode()) for name, value in prometheus_errors.CORS.items()]
                await _send(send, 204, cors, b"", "OPTIONS")
                return
            if path.startswith(STREAMED_PREFIXES):
                await self._pass_through(scope, headers, receive, send, request_id)
                return
            if bailian_wire.is_management(path):
                status, answer_headers, answer = await self._manage(scope, headers, receive, request_id)
                answer_headers = [*answer_headers, (b"x-request-id", request_id.encode())]
                await _send(send, status, answer_headers, answer, scope["method"])
                return
            is_public = _is_public(path)
            if not is_public:
                # before a byte of the body is taken: a caller without a key costs nothing
                await self._core.admission.identify(headers)
            limit = MAX_PUBLIC_BODY_BYTES if is_public else self._core.max_body_bytes
            body = await _read_body(headers, receive, limit)
            dialect = self._operation_of(scope, headers)
            if dialect is not None:
                await self._model_call(AsgiExchange(scope, path, headers, body), dialect, receive, send)
                return
            status, answer_headers, answer = await self._answer(scope, headers, body, request_id)
        except Fault as failure:
            self._core.meter.refused("", UNKNOWN, "other", failure.status, failure.slug)
            answer_headers, answer = _renderer(path)(failure, request_id)
            status = bailian_errors.get_status(failure) if bailian_wire.is_management(path) else failure.status
        except _ClientLeft:
            return
        except Exception:
            log.exception("request failed", extra={"request_id": request_id})
            answer_headers, answer = _renderer(path)(fault("internal_error"), request_id)
            status = 500
        await _send(send, status, [*answer_headers, (b"x-request-id", request_id.encode())], answer, scope["method"])

    def _operation_of(self, scope: Scope, headers: dict[bytes, bytes]) -> Operation | None:
        """The operation that a request asks for; None where it is no model call."""
        if scope["method"] != "POST":
            return None
        app_id = dashscope_apps.app_of(scope["path"])
        if app_id is None:
            return self._dialects.get(scope["path"])
        headers[dashscope_apps.HEADER] = app_id.encode()
        return dashscope_apps.DIALECT

    async def _pass_through(
        self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, send: Send, request_id: str
    ) -> None:
        """A request whose body is not held whole: its sender is known, and its size told, before a byte of it is taken."""
        path, grant = scope["path"], None
        if not path.startswith(SIGNED_PREFIXES):
            grant = await self._core.admission.identify(headers)
            self._check_face_path(grant, headers, path, (scope.get("client") or (None,))[0])
        announced = headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self._max_file_bytes:
            raise fault("file_too_large", limit_bytes=self._max_file_bytes, size=int(announced))
        await self._face.pass_through(scope, headers, receive, send, grant, request_id, self._max_file_bytes)

    def _check_face_path(self, grant: Grant, headers: dict[bytes, bytes], path: str, client: str | None) -> None:
        operations = next(
            (names for start, names in FACE_PATHS if path == start or path.startswith(start + "/")), ("files",)
        )
        open_ones = [one for one in operations if not grant.operations or one in grant.operations]
        self._core.admission.check(grant, open_ones[0] if open_ones else operations[0], headers, client, path)

    async def _manage(
        self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, request_id: str
    ) -> tuple[int, Headers, bytes]:
        """A call of the management protocol: whose signature it has, before a byte of its body is taken."""
        path, query = scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1")
        admission = self._core.admission
        grant, digest = await admission.identify_signer(scope["method"], path, query, headers)
        body = await _read_body(headers, receive, self._core.max_body_bytes)
        if digest and digest != sha256(body).hexdigest():
            raise fault("signature_incomplete", detail="x-acs-content-sha256 is not the body's.")
        client = (scope.get("client") or (None,))[0]
        admission.check(grant, KNOWLEDGE, headers, client, scope["path"])
        if unquote(bailian_wire.workspace_of(path)) != grant.workspace:
            raise fault("workspace_no_permission", workspace=unquote(bailian_wire.workspace_of(path))[:100])
        if not body and len(query) > MAX_RELAYED_QUERY:
            # the face reads parameters in either place, and its server takes no request line of this length
            headers = headers | {b"content-type": b"application/x-www-form-urlencoded"}
            scope, body = scope | {"query_string": b""}, query.encode("latin-1")
        return await self._face.relay(scope, headers, body, grant, request_id)

    async def _health(self, path: str, send: Send) -> None:
        is_ready = path == "/healthz" or self._is_ready()
        body = b'{"status":"ok"}' if is_ready else b'{"status":"starting"}'
        await _send(send, 200 if is_ready else 503, [(b"content-type", b"application/json")], body, "GET")

    async def _model_call(self, exchange: AsgiExchange, dialect: Operation, receive: Receive, send: Send) -> None:
        watcher = asyncio.create_task(exchange.watch(receive))
        try:
            self._core.handle(exchange, dialect)
            await exchange.pump(send)
        finally:
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher

    async def _answer(
        self, scope: Scope, headers: dict[bytes, bytes], body: bytes, request_id: str
    ) -> tuple[int, Headers, bytes]:
        method, path = scope["method"], scope["path"]
        if _is_public(path):
            return await self._face.relay(scope, headers, body, None, request_id)
        grant = await self._core.admission.identify(headers)
        client = (scope.get("client") or (None,))[0]
        elsewhere = await self._answer_elsewhere(scope, headers, body, grant, request_id)
        if elsewhere is not None:
            return elsewhere
        operation = "chat" if path.startswith(RESPONSE_PREFIXES) else FACE_OPERATIONS.get(path, "models")
        self._core.admission.check(grant, operation, headers, client, path)
        if path.startswith(RESPONSE_PREFIXES):
            return await self._face.relay(scope, headers, body, grant, request_id)
        if path in FACE_OPERATIONS:
            if method != "POST":
                raise fault("method_not_supported", method=method)
            return await self._relay_once(scope, headers, body, grant, request_id)
        if path in self._dialects:
            raise fault("method_not_supported", method=method)
        for prefix in (*openai_models.PREFIXES, anthropic_models.PREFIX, dashscope_models.PATH):
            if path == prefix or path.startswith(prefix + "/"):
                if method != "GET":
                    raise fault("method_not_supported", method=method)
                return self._models(grant, prefix, _model_id(path, prefix), scope, headers, request_id)
        what = next((title for start, title in NOT_SUPPORTED if path.startswith(start)), None)
        if what is not None:
            raise fault("not_supported", what=what)
        raise fault("path_not_found", detail=_path_hint(path))

    async def _answer_elsewhere(
        self, scope: Scope, headers: dict[bytes, bytes], body: bytes, grant: Grant, request_id: str
    ) -> tuple[int, Headers, bytes] | None:
        """What the face or the monitor answers by its path alone; None where it is another's."""
        path, client = scope["path"], (scope.get("client") or (None,))[0]
        if path.startswith(FACE_PREFIXES):
            # the kind of key decides; a workspace need not be activated to be looked after
            self._check_control(grant, headers, path, client)
            return await self._relay_once(scope, headers, body, grant, request_id)
        if path.startswith(MONITOR_PREFIX):
            if grant.kind == "admin":
                self._check_control(grant, headers, path, client)
            else:
                self._core.admission.check(grant, "metrics", headers, client, path)
            return await self._face.relay_to_monitor(scope, headers, body, grant, request_id)
        if path.startswith(MCP_PREFIX):
            return await self._serve_tools(scope, headers, body, grant, request_id)
        if any(path == start or path.startswith(start + "/") for start, _ in FACE_PATHS):
            self._check_face_path(grant, headers, path, client)
            return await self._relay_once(scope, headers, body, grant, request_id)
        return None

    async def _serve_tools(
        self, scope: Scope, headers: dict[bytes, bytes], body: bytes, grant: Grant, request_id: str
    ) -> tuple[int, Headers, bytes]:
        """A plugin or an app as an MCP server: a call like any other, whose parts are recorded one by one."""
        core, path, client = self._core, scope["path"], (scope.get("client") or (None,))[0]
        core.admission.check(grant, MCP, headers, client, path)
        if scope["method"] != "POST":
            # no session is kept, so there is none to listen to or to end; clients go on where they are told so by 405
            failure = fault("method_not_supported", method=scope["method"])
            failure.status = 405
            raise failure
        if not core.knows_tools(grant, path.removeprefix(MCP_PREFIX)):
            raise fault("plugin_not_found", name=path.removeprefix(MCP_PREFIX)[:100])
        async with core.passing(grant, MCP, "mcp/" + path.removeprefix(MCP_PREFIX), request_id) as passing:
            answer = await self._face.relay_to_apps(scope, headers, body, grant, request_id)
            passing.status = answer[0]
        return answer

    async def _relay_once(
        self, scope: Scope, headers: dict[bytes, bytes], body: bytes, grant: Grant, request_id: str
    ) -> tuple[int, Headers, bytes]:
        """What the face answers; a POST with an Idempotency-Key at most once."""
        once = once_of(grant, headers, scope["path"]) if scope["method"] == "POST" else None
        if once is None:
            return await self._face.relay(scope, headers, body, grant, request_id)
        replay = self._core.replay
        # the query says what is asked for too
        stored = await once.claim(replay, scope["query_string"] + b"\n" + body, request_id)
        if stored is not None:
            return stored.status, stored.headers, stored.body
        status = 500
        try:
            status, answer_headers, answer = await self._face.relay(scope, headers, body, grant, request_id)
        finally:
            if not 200 <= status < 300:
                with contextlib.suppress(Fault):
                    await replay.forget(once.scope, once.key)
        # a secret is shown once, and kept nowhere
        is_secret = (b"cache-control", b"no-store") in answer_headers
        kept = None if is_secret or wants_no_replay(headers) else StoredAnswer(status, answer_headers, answer)
        with contextlib.suppress(Fault):
            await replay.finish(once.scope, once.key, kept)
        return status, answer_headers, answer

    def _check_control(self, grant: Grant, headers: dict[bytes, bytes], path: str, client: str | None) -> None:
        admission = self._core.admission
        admission.check_fresh()
        admission.check_key(grant)
        admission.check_network(grant, headers, client)
        admission.check_narrowing(grant, headers, path)
        if path.startswith(KNOWLEDGE_PREFIXES):
            admission.check(grant, KNOWLEDGE, headers, client, path)
        elif grant.kind != "admin" and not path.startswith(OWN_WORKSPACE_PREFIXES):
            raise fault("admin_key_required")

    def _models(
        self, grant: Grant, prefix: str, name: str, scope: Scope, headers: dict[bytes, bytes], request_id: str
    ) -> tuple[int, Headers, bytes]:
        """The models that a key may use, in the form of the API that asks."""
        kind: Headers = [(b"content-type", b"application/json")]
        models = self._core.admission.snapshot.models | self._core.apps_of(grant)
        shown = [one for one in models.values() if self._is_open(grant, one.name)]
        if prefix == dashscope_models.PATH:
            query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
            return 200, kind, dashscope_models.encode_page(shown, query, request_id)
        is_anthropic = prefix == anthropic_models.PREFIX or anthropic_models.HEADER in headers
        form = anthropic_models if is_anthropic else openai_models
        if not name:
            return 200, kind, form.encode_list(shown)
        model = models.get(name)
        if model is None or not self._is_open(grant, name):
            raise fault("model_not_found", model=name[:100], param="model")
        return 200, kind, form.encode_model(model)

    def _is_open(self, grant: Grant, model: str) -> bool:
        workspace = self._core.admission.snapshot.workspaces.get(grant.workspace)
        open_ones = () if workspace is None or model.startswith(APP_PREFIX) else workspace.models
        lists = (grant.models, open_ones)
        return all(not names or model in names for names in lists)


_RENDERERS: tuple[tuple[str | tuple[str, ...], Callable[[Fault, str], tuple[Headers, bytes]]], ...] = (
    (dashscope_errors.PREFIX, dashscope_errors.render),
    (anthropic_messages.PREFIXES, anthropic_errors.render),
    (MONITOR_PREFIX, prometheus_errors.render),
    (MCP_PREFIX, mcp_errors.render),
    (page_errors.PREFIXES, page_errors.render),
)


def _is_public(path: str) -> bool:
    """Whether the gateway lets a request through without a key; the console checks its own session."""
    return path == "/" or path in PUBLIC_PATHS or path.startswith((*PUBLIC_PREFIXES, *SESSION_PREFIXES))


def _renderer(path: str) -> Callable[[Fault, str], tuple[Headers, bytes]]:
    """Even a refusal speaks the caller's dialect."""
    if bailian_wire.is_management(path):
        return bailian_errors.render
    return next((render for prefixes, render in _RENDERERS if path.startswith(prefixes)), openai_errors.render)


class _ClientLeft(Exception):
    """The client left before its request was whole."""


async def _read_body(headers: dict[bytes, bytes], receive: Receive, max_bytes: int) -> bytes:
    announced = int(headers.get(b"content-length") or 0)
    if announced > max_bytes:
        raise fault("file_too_large", limit_bytes=max_bytes, size=announced)
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientLeft
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > max_bytes:
            raise fault("file_too_large", limit_bytes=max_bytes, size="more")
        if not message.get("more_body"):
            return b"".join(parts)


async def _send(send: Send, status: int, headers: Headers, body: bytes, method: str) -> None:
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})


def _model_id(path: str, prefix: str) -> str:
    """Ids may hold `/`; clients percent-encode it, the server has decoded it once."""
    return unquote(path[len(prefix) :].lstrip("/"))


def _path_hint(path: str) -> str:
    if "/v1/v1" in path:
        return " The path holds /v1 twice: the base URL ends in /v1 and the client adds it again."
    if path.startswith("/chat/") or path == "/completions":
        return " The base URL lacks /v1 (or /compatible-mode/v1)."
    return ""
