"""What is decided of a call by its head: that it is admitted, what holds for it, and what it says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from steelyard.base.errors import fault
from steelyard.canon.grant import Grant, Workspace
from steelyard.dialects.dialect import Operation
from steelyard.gateway.errands import PLUGIN_HEADER

if TYPE_CHECKING:
    from steelyard.policy.inspection import Inspector

MAX_CLIENT_ID_CHARS = 200
MAX_TIMEOUT_S = 86_400
#: Of a call that is part of another: which one.
PARENT_HEADER = b"x-steelyard-parent"


class Standing:
    """The same for every call with the same head, as long as the grant and its workspace are.

    A connection's next call with the head that came before has it without being checked anew, so only what cannot change by
    itself is decided here: no time, and nothing of a body.
    """

    __slots__ = (
        "client_request_id",
        "dialect",
        "grant",
        "has_models",
        "has_tools",
        "inspector",
        "parent",
        "timeout_s",
        "workspace",
    )

    def __init__(
        self,
        grant: Grant,
        workspace: Workspace,
        dialect: Operation,
        headers: dict[bytes, bytes],
        inspector: Inspector | None,
    ) -> None:
        self.grant = grant
        self.workspace = workspace
        self.dialect = dialect
        #: What looks at the texts; None where nothing does.
        self.inspector = inspector
        #: Whether not every model is open to it.
        self.has_models = bool(grant.models or workspace.models)
        #: Whether tools of plugins may go along.
        self.has_tools = bool(workspace.tools) or PLUGIN_HEADER in headers
        #: The call that this one is a part of.
        self.parent: str | None = None
        if grant.is_inner:
            self.parent = headers.get(PARENT_HEADER, b"").decode("latin-1")[:MAX_CLIENT_ID_CHARS] or None
        client_id = headers.get(b"x-request-id")
        self.client_request_id = None if client_id is None else client_id.decode("latin-1")[:MAX_CLIENT_ID_CHARS]
        timeout = headers.get(b"x-steelyard-timeout")
        #: The caller's deadline; None where it sets none.
        self.timeout_s = None if timeout is None else _seconds(timeout)

    def __repr__(self) -> str:
        return f"<Standing of {self.grant.key_id} for {self.dialect.operation}>"

    @property
    def is_lasting(self) -> bool:
        """Whether it holds until the grant or the workspace is another object: no time ends it, nothing revokes it."""
        return self.grant.expires_us is None and not self.grant.token_id


def check_content_type(headers: dict[bytes, bytes], *, takes_forms: bool) -> None:
    """Bodies are JSON, or forms where an operation takes them.

    Raises:
        Fault: `unsupported_file_format`.
    """
    kind = headers.get(b"content-type")
    if kind is not None and kind != b"application/json" and kind.split(b";")[0].strip():
        base = kind.split(b";")[0].strip().lower()
        if takes_forms and base == b"multipart/form-data":
            return
        if base != b"application/json" and not base.endswith(b"+json"):
            raise fault("unsupported_file_format", accepted="application/json")


def _seconds(value: bytes) -> float:
    """The caller's deadline from `X-Steelyard-Timeout`."""
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < MAX_TIMEOUT_S:
        raise fault(
            "parameter_invalid", detail=f"X-Steelyard-Timeout takes seconds, above 0 and below {MAX_TIMEOUT_S}."
        )
    return seconds
