"""/api/v1/uploads: leave to upload, and the form that uses it. The form needs no key: its policy is signed. Source: dashscope.md 12."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from steelyard.base.clock import now_us
from steelyard.base.errors import fault
from steelyard.base.jsondoor import encode
from steelyard.tasks.library import Library
from steelyard.tasks.uploads import FORM_PATH, MAX_BYTES, Leave, Policies
from steelyard.web.forms import Form, read_form
from steelyard.web.native import native_answer, native_guarded, request_id_of
from steelyard.web.principal import get_principal


class UploadsApi:
    """The handlers."""

    def __init__(self, library: Library, policies: Policies) -> None:
        self._library = library
        self._policies = policies

    def routes(self) -> list[Route]:
        """The Starlette routes."""
        return [
            Route("/api/v1/uploads", native_guarded(self.get_policy), methods=["GET"]),
            Route(FORM_PATH, native_guarded(self.upload), methods=["POST"]),
        ]

    async def get_policy(self, request: Request) -> Response:
        query = request.query_params
        if query.get("action") != "getPolicy":
            raise fault("parameter_invalid", detail="action must be getPolicy.", param="action")
        if not query.get("model"):
            raise fault("field_missing", field="model", param="model")
        made = self._policies.make(get_principal(request).workspace, query["model"][:200], now_us())
        return native_answer(encode({"request_id": request_id_of(request), "data": made}))

    async def upload(self, request: Request) -> Response:
        leaves: list[Leave] = []

        def inspect(form: Form, field: str, _name: str) -> int:
            # everything that permits the file comes before it
            if field != "file" or form.files:
                raise fault("upload_policy_invalid", reason="a form has one file, named 'file'.")
            policy, signature, key = form.first("policy"), form.first("Signature"), form.first("key")
            if not policy or not signature or not key:
                raise fault("upload_policy_invalid", reason="policy, Signature and key must come before the file.")
            leaves.append(self._policies.check(policy, signature, key, now_us()))
            return MAX_BYTES

        async with read_form(request, self._library.open_spool, inspect) as form:
            if not form.files:
                raise fault("field_missing", field="file", param="file")
            (leave,) = leaves
            key = form.first("key") or ""
            stored = await self._library.add_upload(
                form.files[0].spool, key=key, workspace=leave.workspace, model=leave.model
            )
        # exactly 200: the SDK takes 204 for a failure
        return Response(status_code=200, headers={"etag": f'"{stored.digest}"'})
