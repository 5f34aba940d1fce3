"""The management protocol's actions by method and path, and its values. Source: bailian-openapi.md 1, 2, 4.

The first segment of a path is the workspace; slashes at the end tell actions apart.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import unquote

import msgspec

from steelyard.base.errors import fault
from steelyard.base.jsondoor import encode
from steelyard.base.units import MICROS

#: What comes behind the workspace.
SECTIONS = ("datacenter", "index", "chunk", "rag", "memories", "promptTemplates", "application")
#: First segments that are no workspaces.
RESERVED = frozenset(
    {"v1", "api", "api-ws", "apps", "compatible-mode", "compatible-api", "control", "console", "hub", "mcp", "o", "errors",
     "prometheus", "metrics", "openapi", "static", "leases", "internal", "healthz", "readyz"}
)  # fmt: skip
_BEIJING = timezone(timedelta(hours=8))
MAX_ROUTE = 400

#: (action, method, path behind the workspace)
TABLE = (
    ("AddCategory", "POST", "datacenter/category/"),
    ("ListCategory", "POST", "datacenter/categories"),
    ("DeleteCategory", "DELETE", "datacenter/category/{id}/"),
    ("ApplyFileUploadLease", "POST", "datacenter/category/{id}"),
    ("ApplyTempStorageLease", "POST", "datacenter"),
    ("AddFile", "PUT", "datacenter/file"),
    ("DescribeFile", "GET", "datacenter/file/{id}/"),
    ("ListFile", "GET", "datacenter/files"),
    ("UpdateFileTag", "PUT", "datacenter/file/{id}"),
    ("BatchUpdateFileTag", "PUT", "datacenter/batchupdatetag"),
    ("DeleteFile", "DELETE", "datacenter/file/{id}/"),
    ("DeleteFiles", "POST", "datacenter/file/delete"),
    ("GetAvailableParserTypes", "GET", "datacenter/parser/parsertype"),
    ("GetParseSettings", "GET", "datacenter/parser/settings"),
    ("ChangeParseSetting", "PUT", "datacenter/parser/settings"),
    ("CreateIndex", "POST", "index/create"),
    ("SubmitIndexJob", "POST", "index/submit_index_job"),
    ("SubmitIndexAddDocumentsJob", "POST", "index/add_documents_to_index"),
    ("GetIndexJobStatus", "GET", "index/job/status"),
    ("ListIndices", "GET", "index/list_indices"),
    ("UpdateIndex", "POST", "index/update"),
    ("DeleteIndex", "POST", "index/delete"),
    ("ListIndexDocuments", "GET", "index/list_index_documents"),
    ("ListIndexFileDetails", "POST", "index/list_index_file_detail"),
    ("DeleteIndexDocument", "POST", "index/delete_index_document"),
    ("Retrieve", "POST", "index/retrieve"),
    ("ListChunks", "POST", "index/list_chunks"),
    ("AddChunk", "POST", "chunk/create"),
    ("UpdateChunk", "POST", "chunk/update"),
    ("DeleteChunk", "POST", "chunk/delete"),
    ("GetIndexMonitor", "GET", "rag/index/monitor"),
)  # fmt: skip
_ROUTES = tuple(
    (action, method, re.compile(re.escape(path).replace(r"\{id\}", "([^/]+)"))) for action, method, path in TABLE
)
ACTIONS = tuple(action for action, _, _ in TABLE)


@dataclass(frozen=True, slots=True)
class Call:
    """One call: its action, and the id in its path where it has one."""

    action: str
    workspace: str
    id: str = ""


def is_management(path: str) -> bool:
    """Whether a path is of this protocol."""
    parts = path.split("/", 3)
    return len(parts) >= 3 and not parts[0] and parts[2] in SECTIONS and bool(parts[1]) and parts[1] not in RESERVED


def find_call(method: str, raw_path: str) -> Call:
    """What a request asks.

    Raises:
        Fault: `action_not_found`.
    """
    _, workspace, rest = raw_path.split("/", 2)
    for action, verb, pattern in _ROUTES:
        found = pattern.fullmatch(rest) if verb == method and len(rest) <= MAX_ROUTE else None
        if found is not None:
            return Call(action, unquote(workspace), unquote(found[1]) if found.groups() else "")
    raise fault("action_not_found")


def workspace_of(path: str) -> str:
    """The workspace that a path names."""
    return path.split("/", 2)[1]


class Parameters:
    """A call's parameters: texts, of which each method reads one kind. Names of the wire go into refusals."""

    def __init__(self, values: dict[str, Any], *, is_folded: bool = False) -> None:
        self._values = values
        self._is_folded = is_folded

    def _get(self, name: str) -> Any:
        """A value by its name on the wire; without its casing where callers are free in that."""
        return self._values.get(name.replace("_", "").lower() if self._is_folded else name)

    def refuse(self, name: str, detail: str = "") -> Exception:
        """What to raise where a parameter is wrong."""
        return fault("index_parameter", name=name, detail=f" {detail}" if detail else "", param=name)

    def text(self, name: str, default: str | None = None, *, low: int = 0, high: int = 100_000) -> str:
        """A text. Without a default it must be there."""
        value = self._get(name)
        if value is None or value == "":
            if default is None:
                raise self.refuse(name)
            return default
        if self._is_folded and isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            raise self.refuse(name, "It must be a text.")
        if not low <= len(value) <= high:
            raise self.refuse(name, f"It must have {low} to {high} characters.")
        return value

    def has(self, name: str) -> bool:
        """Whether it was sent at all, if only as an empty text."""
        return self._get(name) is not None

    def number(self, name: str, default: int | None, low: int, high: int, *, clamps: bool = False) -> int:
        """A whole number within bounds; beyond the upper one it is brought down where the API does so."""
        value = self._get(name)
        if value is None or value == "":
            if default is None:
                raise self.refuse(name)
            return default
        try:
            number = int(value)
        except (TypeError, ValueError):
            raise self.refuse(name, "It must be a whole number.") from None
        if clamps and number > high:
            return high
        if not low <= number <= high:
            raise self.refuse(name, f"It must be within [{low}, {high}].")
        return number

    def decimal(self, name: str, default: float, low: float, high: float) -> float:
        """A number within bounds."""
        value = self._get(name)
        if value is None or value == "":
            return default
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise self.refuse(name, "It must be a number.") from None
        if not low <= number <= high:
            raise self.refuse(name, f"It must be within [{low:g}, {high:g}].")
        return number

    def flag(self, name: str, default: bool) -> bool:
        """`True`, `true`, `False`, `false`, or a JSON boolean."""
        value = self._get(name)
        if value is None or value == "":
            return default
        if isinstance(value, bool):
            return value
        if str(value).lower() not in ("true", "false"):
            raise self.refuse(name, "It must be true or false.")
        return str(value).lower() == "true"

    def json(self, name: str, kind: Any, default: Any = None) -> Any:
        """A list or an object that came as JSON text."""
        value = self._get(name)
        if value is None or value == "":
            return default
        try:
            if isinstance(value, str):
                return msgspec.json.decode(value, type=kind)
            return msgspec.convert(value, kind)
        except msgspec.MsgspecError as exc:
            raise self.refuse(name, f"It must be JSON of another form: {exc}.") from None

    def texts(self, name: str, *, high: int = 10_000) -> tuple[str, ...]:
        """A list of texts, each once; empty where it was not sent."""
        found: list[str] = self.json(name, list[str], [])
        if len(found) > high:
            raise self.refuse(name, f"It may have {high} items.")
        return tuple(dict.fromkeys(found))


def answer(data: Any, request_id: str) -> bytes:
    """The envelope of a result."""
    body = {"Code": "Success", "Message": "success", "RequestId": request_id, "Status": "200", "Success": True}
    return encode(body if data is None else {**body, "Data": data})


def create_time(at_us: int) -> str:
    """A time as the data centre tells it."""
    return datetime.fromtimestamp(at_us / MICROS, UTC).astimezone(_BEIJING).strftime("%Y-%m-%d %H:%M:%S")
