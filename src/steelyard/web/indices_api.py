"""/api/v1/indices and /api/v1/connector/dash: the management protocol's actions for API keys. Source: bailian-openapi.md 9.

Names come in any casing (`index_id`, `indexId`, `id`) and are read as the protocol's; answers are told in snake case.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from steelyard.base.errors import Fault, fault
from steelyard.base.jsondoor import decode_object, encode
from steelyard.canon.grant import Grant
from steelyard.dialects import bailian_errors
from steelyard.dialects.bailian_wire import Parameters
from steelyard.web.principal import get_principal

Action = Callable[[Grant, str, Parameters], Awaitable[Any]]

INDICES, CONNECTOR = "/api/v1/indices/", "/api/v1/connector/dash/"
#: path -> action; each takes GET with a query and POST with a body alike.
_PATHS = {
    INDICES + "rag/index/list": "ListIndices",
    INDICES + "rag/index/update": "UpdateIndex",
    INDICES + "rag/index/delete": "DeleteIndex",
    INDICES + "rag/index/files": "ListIndexDocuments",
    INDICES + "rag/list/index/file/details": "ListIndexFileDetails",
    INDICES + "rag/index/delete_file": "DeleteIndexDocument",
    INDICES + "rag/index/job/create": "SubmitIndexAddDocumentsJob",
    INDICES + "rag/index_job/status": "GetIndexJobStatus",
    INDICES + "rag/index/chunklist": "ListChunks",
    INDICES + "rag/index/chunk/create": "AddChunk",
    INDICES + "rag/index/chunk/update": "UpdateChunk",
    INDICES + "rag/index/chunk/delete": "DeleteChunk",
    INDICES + "rag/index/retrieve": "Retrieve",
    CONNECTOR + "listCategory": "ListCategory",
    CONNECTOR + "addCategory": "AddCategory",
    CONNECTOR + "deleteCategory": "DeleteCategory",
    CONNECTOR + "applyFileUploadLease": "ApplyFileUploadLease",
    CONNECTOR + "addFile": "AddFile",
    CONNECTOR + "describeFile": "DescribeFile",
    CONNECTOR + "listFile": "ListFile",
    CONNECTOR + "deleteFile": "DeleteFile",
}  # fmt: skip
CREATE = INDICES + "rag/index/create_v2"
#: Actions whose id is in the path there, and a field here.
_IN_PATH = {
    "DeleteCategory": "CategoryId",
    "ApplyFileUploadLease": "CategoryId",
    "DescribeFile": "FileId",
    "DeleteFile": "FileId",
}
#: Names that differ by more than their casing, folded; and what an action calls by another name.
_ALIASES = {"docids": "documentids", "datasources": "categoryids", "pagenum": "pagenumber", "datatype": "sourcetype"}
_OF_ACTION = {
    "ListChunks": {"pagenumber": "pagenum"},
    "AddChunk": {"indexid": "pipelineid", "docid": "dataid", "fileid": "dataid"},
    "UpdateChunk": {"indexid": "pipelineid", "docid": "dataid", "fileid": "dataid"},
    "DeleteChunk": {"indexid": "pipelineid"},
    "UpdateIndex": {"indexid": "id"},
    "DeleteIndex": {"id": "indexid"},
}
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class IndicesApi:
    """The handlers."""

    def __init__(self, actions: dict[str, Action]) -> None:
        self._actions = actions

    def routes(self) -> list[Route]:
        """The Starlette routes."""
        methods = ["GET", "POST", "DELETE"]
        named = [Route(path, self._handler(action), methods=methods) for path, action in _PATHS.items()]
        return [*named, Route(CREATE, self._framed(self._create), methods=["POST"])]

    def _handler(self, action: str) -> Callable[[Request], Awaitable[Response]]:
        async def run(grant: Grant, values: dict[str, Any]) -> Any:
            return await self._run(action, grant, values)

        return self._framed(run)

    async def _run(self, action: str, grant: Grant, values: dict[str, Any]) -> Any:
        of_action = _OF_ACTION.get(action, {})
        asked = Parameters({of_action.get(name, name): value for name, value in values.items()}, is_folded=True)
        identifier = asked.text(_IN_PATH[action]) if action in _IN_PATH else ""
        return await self._actions[action](grant, identifier, asked)

    async def _create(self, grant: Grant, values: dict[str, Any]) -> Any:
        """A base, and its first job at once."""
        defaults = {"structuretype": "unstructured", "sinktype": "BUILT_IN", "sourcetype": "DATA_CENTER_FILE"}
        made = await self._run("CreateIndex", grant, {**defaults, **values})
        try:
            job = await self._run("SubmitIndexJob", grant, {"indexid": made["Id"]})
        except Fault:
            await self._run("DeleteIndex", grant, {"indexid": made["Id"]})
            raise
        return {"Id": made["Id"], "IndexId": made["Id"], "JobId": job["Id"]}

    def _framed(
        self, run: Callable[[Grant, dict[str, Any]], Awaitable[Any]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            request_id = request.headers.get("x-request-id", "")
            try:
                data = _snake(await run(get_principal(request), await _read_values(request)))
            except Fault as failure:
                return _refusal(failure, request_id)
            body = {
                "code": "Success", "status_code": 200, "success": True, "message": "success", "data": data,
                "request_id": request_id,
            }  # fmt: skip
            return Response(encode(body), media_type="application/json")

        return handle


def _refusal(failure: Fault, request_id: str) -> Response:
    status = bailian_errors.get_status(failure)
    body = {
        "code": bailian_errors.get_code(failure), "status_code": status, "success": False,
        "message": failure.message.strip(), "request_id": request_id,
    }  # fmt: skip
    answer = Response(encode(body), status_code=status, media_type="application/json")
    if failure.retry_after_s is not None:
        answer.headers["retry-after"] = f"{failure.retry_after_s:g}"
    return answer


async def _read_values(request: Request) -> dict[str, Any]:
    body = await request.body()
    if body and not body.lstrip().startswith(b"{"):
        raise fault("index_parameter", name="body", detail=" The body is no JSON object.")
    values: dict[str, Any] = {**request.query_params, **(decode_object(body) if body else {})}
    folded = {fold(name): value for name, value in values.items()}
    return {_ALIASES.get(name, name): value for name, value in folded.items()}


def fold(name: str) -> str:
    """A name without its casing: `index_id`, `indexId` and `IndexId` are one."""
    return name.replace("_", "").lower()


def _snake(value: Any) -> Any:
    """Keys in snake case; what lies in metadata has names of its own."""
    if isinstance(value, list):
        return [_snake(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        _HUMP.sub("_", name).lower(): one if name in ("Metadata", "Headers") else _snake(one)
        for name, one in value.items()
    }
