"""Files: the OpenAI API's and the native one's, on one store. Source: openai-compatible.md 7, dashscope.md 12."""

from collections.abc import Awaitable, Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from steelyard.base.clock import now_s
from steelyard.base.errors import Fault, fault
from steelyard.base.jsondoor import encode
from steelyard.base.lifetimes import FOREVER, read_ttl_s
from steelyard.canon.files import StoredFile
from steelyard.dialects import file_fields
from steelyard.tasks.library import Library
from steelyard.web.answers import guarded, json_answer, read_body
from steelyard.web.forms import Form, FormFile, read_form
from steelyard.web.native import native_answer, native_guarded, request_id_of
from steelyard.web.objects_api import serve
from steelyard.web.principal import get_principal
from steelyard.web.queries import read_integer

PREFIXES = ("/v1/files", "/compatible-mode/v1/files")
NATIVE_PREFIX = "/api/v1/files"
MAX_LIMIT = 10_000
#: What is told with a file is good for as long as the vendor's own links.
LINK_TTL_S = 24 * 3600


class PublishWish(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /files/ID/publish: a time such as 7d, or `forever`."""

    ttl: str = "forever"


class FilesApi:
    """The handlers."""

    def __init__(self, library: Library, forget: Callable[[str, str], Awaitable[None]]) -> None:
        self._library = library
        #: (workspace, file id): what was made of a file goes before it does.
        self._forget = forget

    def routes(self) -> list[Route]:
        """The Starlette routes."""
        table = (
            ("POST", "", self.create),
            ("GET", "", self.list),
            ("GET", "/{file_id}", self.get),
            ("GET", "/{file_id}/content", self.content),
            ("DELETE", "/{file_id}", self.delete),
        )
        native = (
            ("POST", "", self.create_native),
            ("GET", "", self.list_native),
            ("GET", "/{file_id}", self.get_native),
            ("DELETE", "/{file_id}", self.delete_native),
            ("POST", "/{file_id}/publish", self.publish),
        )
        return [
            *(Route(p + path, guarded(handler), methods=[method]) for p in PREFIXES for method, path, handler in table),
            *(
                Route(NATIVE_PREFIX + path + end, native_guarded(handler), methods=[method])
                for method, path, handler in native
                for end in ("", "/")
            ),
        ]

    # OpenAI

    async def create(self, request: Request) -> Response:
        grant = get_principal(request)

        def inspect(form: Form, field: str, name: str) -> int:
            if field != "file":
                raise fault(
                    "parameter_invalid", detail=f"The file must come as 'file', not as '{field[:50]}'.", param="file"
                )
            return file_fields.limit_of(form.first("purpose"), name)

        async with read_form(request, self._library.open_spool, inspect) as form:
            purpose = form.first("purpose")
            if purpose is None:
                raise fault("field_missing", field="purpose", param="purpose")
            if not form.files:
                raise fault("field_missing", field="file", param="file")
            one = form.files[0]
            # the purpose may have come after the file
            limit = file_fields.limit_of(purpose, one.name)
            if one.spool.size_bytes > limit:
                raise fault("file_too_large", limit_bytes=limit, size=one.spool.size_bytes)
            if not one.spool.size_bytes:
                raise fault("parameter_invalid", detail="The file is empty.", param="file")
            made = await self._library.add_file(one.spool, grant, purpose=purpose, name=one.name or "upload")
        return json_answer(file_fields.show_openai(made))

    async def list(self, request: Request) -> Response:
        query = request.query_params
        files, has_more = await self._library.list_files(
            get_principal(request).workspace,
            purpose=query.get("purpose"),
            after=query.get("after", ""),
            limit=read_integer(query, "limit", 20, 1, MAX_LIMIT),
        )
        return json_answer(file_fields.show_openai_list(files, has_more))

    async def get(self, request: Request) -> Response:
        found = await self._library.get_file(get_principal(request).workspace, request.path_params["file_id"])
        return json_answer(file_fields.show_openai(found))

    async def content(self, request: Request) -> Response:
        found = await self._library.get_file(get_principal(request).workspace, request.path_params["file_id"])
        return serve(found.object, self._library, request)

    async def delete(self, request: Request) -> Response:
        found = await self._delete(request)
        return json_answer({"id": found.id, "object": "file", "deleted": True})

    async def _delete(self, request: Request) -> StoredFile:
        workspace, file_id = get_principal(request).workspace, request.path_params["file_id"]
        await self._forget(workspace, file_id)
        return await self._library.delete_file(workspace, file_id)

    # native

    async def create_native(self, request: Request) -> Response:
        def inspect(_form: Form, _field: str, _name: str) -> int:
            return file_fields.MAX_NATIVE_BYTES

        uploaded, failed = [], []
        async with read_form(request, self._library.open_spool, inspect) as form:
            if not form.files:
                raise fault("field_missing", field="files", param="files")
            descriptions = form.fields.get("descriptions", [])
            for number, one in enumerate(form.files):
                description = descriptions[number] if number < len(descriptions) else ""
                try:
                    uploaded.append(await self._add_native(request, one, form.first("purpose"), description))
                except Fault as failure:
                    failed.append({"name": one.name, "code": failure.native_code, "message": failure.message})
        body = {"data": {"uploaded_files": uploaded, "failed_uploads": failed}, "request_id": request_id_of(request)}
        return native_answer(encode(body))

    async def _add_native(
        self, request: Request, one: FormFile, purpose: str | None, description: str
    ) -> dict[str, str]:
        if not one.spool.size_bytes:
            raise fault("parameter_invalid", detail="The file is empty.")
        made = await self._library.add_file(
            one.spool,
            get_principal(request),
            purpose=purpose if purpose in file_fields.PURPOSES else file_fields.INFERENCE,
            name=one.name or "upload",
            description=description[:1000],
        )
        return {"name": one.name, "file_id": made.id}

    async def list_native(self, request: Request) -> Response:
        query = request.query_params
        page_no = read_integer(query, "page_no", 1, 1, 10**6)
        page_size = read_integer(query, "page_size", 10, 1, 100)
        files, total = await self._library.list_page(get_principal(request).workspace, page_no, page_size)
        data = {
            "total": total,
            "page_no": page_no,
            "page_size": page_size,
            "files": [file_fields.show_native(one, self._library.link_for(one.object, LINK_TTL_S)) for one in files],
        }
        return native_answer(encode({"data": data, "request_id": request_id_of(request)}))

    async def get_native(self, request: Request) -> Response:
        found = await self._library.get_file(get_principal(request).workspace, request.path_params["file_id"])
        data = file_fields.show_native(found, self._library.link_for(found.object, LINK_TTL_S))
        return native_answer(encode({"data": data, "request_id": request_id_of(request)}))

    async def publish(self, request: Request) -> Response:
        """A public link for as long as the caller says; `forever` is possible, and an operator can void it."""
        found = await self._library.get_file(get_principal(request).workspace, request.path_params["file_id"])
        wish = await read_body(request, PublishWish)
        ttl_s = read_ttl_s(wish.ttl)
        expires_at = None if ttl_s == FOREVER else now_s() + ttl_s
        data = {"file_id": found.id, "url": self._library.link_for(found.object, ttl_s), "expires_at": expires_at}
        return native_answer(encode({"data": data, "request_id": request_id_of(request)}))

    async def delete_native(self, request: Request) -> Response:
        await self._delete(request)
        return native_answer(encode({"request_id": request_id_of(request)}))
