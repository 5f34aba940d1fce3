"""Sheets made from the tables that also make the routes: the control API's and the management protocol's."""

import re
from collections.abc import Iterable
from typing import Any, Protocol

import msgspec

from steelyard.dialects.bailian_wire import TABLE
from steelyard.web.openapi.sheet import Entry, Sheet

_REFUSAL = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "code"],
            "properties": {"message": {"type": "string"}, "type": {"type": "string"}, "param": {}, "code": {}},
        },
        "request_id": {"type": "string"},
    },
}
_MANAGED = {
    "type": "object",
    "required": ["Code", "Message", "RequestId", "Success"],
    "properties": {
        "Code": {"type": "string"},
        "Message": {"type": "string"},
        "RequestId": {"type": "string"},
        "Status": {"type": "string"},
        "Success": {"type": "boolean"},
        "Data": {},
    },
}


class Row(Protocol):
    """A row of the control API's table."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def body(self) -> type | None: ...
    @property
    def query(self) -> tuple[str, ...]: ...


def control_sheet(rows: Iterable[Row]) -> Sheet:
    """The control API."""
    table = tuple(rows)
    bodies = [one.body for one in table if one.body is not None]
    _, schemas = msgspec.json.schema_components(bodies, ref_template="#/components/schemas/{name}")
    paths: dict[str, dict[Any, Entry]] = {}
    for one in table:
        entry = Entry(
            summary=one.summary,
            query=one.query,
            body="" if one.body is None else one.body.__name__,
            statuses=("200", "201") if one.method == "POST" else ("200",),
        )
        paths.setdefault(one.path.replace(":path}", "}"), {})[one.method.lower()] = entry
    return Sheet(
        title="control API",
        prefix="/control/v1",
        refusal="Refusal",
        paths=paths,
        schemas={**schemas, "Refusal": _REFUSAL},
    )


def management_sheet() -> Sheet:
    """The vendor's management protocol of documents and knowledge bases. Actions whose ways differ by a slash are told apart by it."""
    paths: dict[str, dict[Any, Entry]] = {}
    for action, method, path in TABLE:
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", action).capitalize()
        takes_form = method in ("POST", "PUT")
        entry = Entry(summary=words, answer="Answer", urlencoded="Fields" if takes_form else "")
        paths.setdefault("/{workspace}/" + path, {})[method.lower()] = entry
    return Sheet(
        title="bailian management API",
        prefix="",
        refusal="Answer",
        security="signature",
        paths=paths,
        schemas={"Answer": _MANAGED, "Fields": {"type": "object", "additionalProperties": {"type": "string"}}},
    )
