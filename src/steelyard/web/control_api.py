"""/control/v1: keys, workspaces, models, usage, receipts. The OpenAPI document is made from the same table as the routes."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from steelyard.base.errors import fault
from steelyard.base.sealing import Sealer
from steelyard.canon.cache import CachePolicy
from steelyard.canon.downloads import DownloadBounds
from steelyard.canon.inspection import InspectionPolicy
from steelyard.control import inspection, keys, limits, providers, routes, tokens, trail, usage, workspaces
from steelyard.control.catalogue import RouteSpec
from steelyard.control.model_book import ModelBook
from steelyard.control.providers import ProviderWish, check_remote_reference
from steelyard.control.records import Records
from steelyard.web.answers import Handler, guarded, json_answer, read_body, secret_answer
from steelyard.web.control_shapes import (
    KeyWish,
    LimitsWish,
    ModelsWish,
    PolicyWish,
    RotateWish,
    WorkspaceWish,
    show_key,
    show_model,
    show_workspace,
)
from steelyard.web.openapi.document import make_document
from steelyard.web.openapi.sheet import Sheet
from steelyard.web.openapi.tables import control_sheet
from steelyard.web.principal import get_admin, get_principal, get_scope


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the control API."""

    method: str
    path: str
    summary: str
    handler: Handler
    body: type | None = None
    #: The name by which a workspace may demand a temporary token for it (`step_up`).
    action: str = ""
    #: Names of what may be asked in the address.
    query: tuple[str, ...] = ()


class ControlApi:
    """The handlers."""

    def __init__(
        self,
        records: Records,
        models: ModelBook,
        free_tokens: int,
        sealer: Sealer,
        server_url: str,
        more: tuple[Operation, ...] = (),
    ) -> None:
        self._records = records
        self._sealer = sealer
        self._server_url = server_url
        self._models = models
        self._free_tokens = free_tokens
        self.operations = (
            Operation("GET", "/keys", "List keys, masked", self.list_keys, query=("workspace",)),
            Operation(
                "POST", "/keys", "Make a key; the secret is shown once", self.create_key, KeyWish, action="keys.create"
            ),
            Operation("GET", "/keys/{key_id}", "Show a key, masked", self.get_key),
            Operation("DELETE", "/keys/{key_id}", "Delete a key for good", self.delete_key, action="keys.delete"),
            Operation("POST", "/keys/{key_id}/disable", "Switch a key off", self.disable_key),
            Operation("POST", "/keys/{key_id}/enable", "Switch a key on", self.enable_key),
            Operation(
                "POST",
                "/keys/{key_id}/rotate",
                "Replace a key after a grace time",
                self.rotate_key,
                RotateWish,
                action="keys.rotate",
            ),
            Operation(
                "PUT",
                "/keys/{key_id}/limits",
                "Set what a key may take",
                self.limit_key,
                LimitsWish,
                action="keys.limit",
            ),
            Operation("DELETE", "/tokens/{token_id}", "Revoke a temporary token", self.revoke_token),
            Operation("GET", "/workspaces", "List workspaces", self.list_workspaces),
            Operation("POST", "/workspaces", "Make a workspace", self.create_workspace, WorkspaceWish),
            Operation("GET", "/workspaces/{name}", "Show a workspace with its budget", self.get_workspace),
            Operation(
                "PUT",
                "/workspaces/{name}/limits",
                "Set what a workspace may take",
                self.limit_workspace,
                PolicyWish,
                action="workspaces.limit",
            ),
            Operation(
                "PUT",
                "/workspaces/{name}/models",
                "Open certain models to a workspace, or all",
                self.open_models,
                ModelsWish,
                action="workspaces.limit",
            ),
            Operation(
                "PUT",
                "/workspaces/{name}/cache",
                "Keep answers for calls that are exactly the same",
                self.set_cache,
                CachePolicy,
                action="workspaces.limit",
            ),
            Operation(
                "PUT",
                "/workspaces/{name}/downloads",
                "Bound how much of their links a workspace's calls follow",
                self.set_downloads,
                DownloadBounds,
                action="workspaces.limit",
            ),
            Operation("GET", "/workspaces/{name}/inspection", "Show what is looked for in texts", self.get_inspection),
            Operation(
                "PUT",
                "/workspaces/{name}/inspection",
                "Set what is looked for in texts",
                self.set_inspection,
                InspectionPolicy,
                action="inspection.set",
            ),
            Operation("POST", "/workspaces/{name}/activate", "Activate, with the free tokens", self.activate),
            Operation("GET", "/models", "List models with their targets", self.list_models),
            Operation("GET", "/providers", "List providers, without their keys", self.list_providers),
            Operation(
                "POST", "/providers/preview", "Try a provider and show what it would bring", self.preview, ProviderWish
            ),
            Operation("POST", "/providers", "Add a provider", self.add_provider, ProviderWish, action="providers.add"),
            Operation("POST", "/providers/{name}/test", "Try a provider", self.test_provider),
            Operation(
                "DELETE", "/providers/{name}", "Take a provider away", self.remove_provider, action="providers.remove"
            ),
            Operation("GET", "/routes", "List routes", self.list_routes),
            Operation("PUT", "/routes/{model:path}", "Set a route", self.set_route, RouteSpec, action="routes.set"),
            Operation(
                "DELETE", "/routes/{model:path}", "Take a set route away", self.remove_route, action="routes.set"
            ),
            Operation(
                "GET",
                "/usage",
                "Sum usage and cost; ?format=csv gives a table",
                self.get_usage,
                query=("group_by", "since", "until", "workspace"),
            ),
            Operation("GET", "/requests/{request_id}/receipt", "Show a call's receipt", self.get_receipt),
            Operation("GET", "/audit", "Read the audit trail, newest first", self.get_audit, query=("limit", "action")),
            *more,
            Operation("GET", "/openapi.json", "This document", self.get_document),
        )

    def routes(self) -> list[Route]:
        """The Starlette routes."""
        return [
            Route(f"/control/v1{one.path}", guarded(self._stepped_up(one)), methods=[one.method])
            for one in self.operations
        ]

    def _stepped_up(self, operation: Operation) -> Handler:
        """The handler, behind the workspace's demand for a token where it has one."""
        if not operation.action:
            return operation.handler

        async def handler(request: Request) -> Response:
            grant = get_principal(request)
            if not grant.token_id:
                workspace = await workspaces.get_workspace(self._records, grant.workspace)
                if operation.action in workspace.policy.step_up:
                    raise fault("token_required", operation=operation.action)
            return await operation.handler(request)

        return handler

    async def revoke_token(self, request: Request) -> Response:
        actor = get_admin(request)
        token_id = request.path_params["token_id"]
        await tokens.revoke_token(self._records, token_id, actor=actor.key_id)
        return json_answer({"id": token_id, "revoked": True})

    async def list_keys(self, request: Request) -> Response:
        get_admin(request)
        found = await keys.list_keys(self._records, request.query_params.get("workspace"))
        return json_answer({"data": [show_key(one) for one in found]})

    async def create_key(self, request: Request) -> Response:
        actor = get_admin(request)
        wish = await read_body(request, KeyWish)
        made = await keys.create_key(
            self._records,
            name=wish.name,
            actor=actor.key_id,
            workspace=wish.workspace,
            kind=wish.kind,
            models=wish.models,
            operations=wish.operations,
            networks=wish.networks,
            tools=wish.tools,
            expires_in_s=None if wish.expires_in is None else keys.parse_duration_s(wish.expires_in),
            limits=wish.limits,
            sealer=self._sealer,
        )
        return secret_answer(show_key(made.record, made.secret), 201)

    async def get_key(self, request: Request) -> Response:
        get_admin(request)
        record = await keys.get_key(self._records, request.path_params["key_id"])
        subject = f"key:{record.grant.lineage or record.grant.key_id}"
        budget = await limits.show_budget(self._records, subject, record.grant.limits)
        return json_answer({**show_key(record), "budget": budget})

    async def limit_key(self, request: Request) -> Response:
        actor = get_admin(request)
        wish = await read_body(request, LimitsWish)
        key_id = request.path_params["key_id"]
        return json_answer(show_key(await keys.set_limits(self._records, key_id, wish.limits, actor=actor.key_id)))

    async def delete_key(self, request: Request) -> Response:
        actor = get_admin(request)
        record = await keys.delete_key(self._records, request.path_params["key_id"], actor=actor.key_id)
        return json_answer({"id": record.grant.key_id, "deleted": True})

    async def disable_key(self, request: Request) -> Response:
        return await self._switch(request, is_disabled=True)

    async def enable_key(self, request: Request) -> Response:
        return await self._switch(request, is_disabled=False)

    async def _switch(self, request: Request, *, is_disabled: bool) -> Response:
        actor = get_admin(request)
        key_id = request.path_params["key_id"]
        return json_answer(show_key(await keys.set_disabled(self._records, key_id, is_disabled, actor=actor.key_id)))

    async def rotate_key(self, request: Request) -> Response:
        actor = get_admin(request)
        wish = await read_body(request, RotateWish)
        grace_s = keys.parse_duration_s(wish.grace)
        key_id = request.path_params["key_id"]
        made = await keys.rotate_key(self._records, key_id, grace_s, actor=actor.key_id, sealer=self._sealer)
        return secret_answer(show_key(made.record, made.secret), 201)

    async def list_workspaces(self, request: Request) -> Response:
        get_admin(request)
        found = await workspaces.list_workspaces(self._records)
        return json_answer({"data": [show_workspace(one) for one in found]})

    async def create_workspace(self, request: Request) -> Response:
        actor = get_admin(request)
        wish = await read_body(request, WorkspaceWish)
        made = await workspaces.create_workspace(self._records, wish.name, actor=actor.key_id)
        return json_answer(show_workspace(made), 201)

    async def get_workspace(self, request: Request) -> Response:
        get_admin(request)
        record = await workspaces.get_workspace(self._records, request.path_params["name"])
        budget = await limits.show_budget(self._records, f"workspace:{record.name}", record.policy.limits)
        return json_answer({**show_workspace(record), "budget": budget})

    async def limit_workspace(self, request: Request) -> Response:
        actor = get_admin(request)
        wish = await read_body(request, PolicyWish)
        record = await workspaces.set_limits(
            self._records,
            request.path_params["name"],
            limits=wish.limits,
            unknown_price=wish.unknown_price,
            step_up=wish.step_up,
            hygiene=wish.hygiene,
            actor=actor.key_id,
        )
        return json_answer(show_workspace(record))

    async def open_models(self, request: Request) -> Response:
        actor = get_admin(request)
        wish = await read_body(request, ModelsWish)
        name = request.path_params["name"]
        return json_answer(
            show_workspace(await workspaces.set_models(self._records, name, wish.models, actor=actor.key_id))
        )

    async def set_cache(self, request: Request) -> Response:
        actor = get_admin(request)
        wish = await read_body(request, CachePolicy)
        name = request.path_params["name"]
        return json_answer(show_workspace(await workspaces.set_cache(self._records, name, wish, actor=actor.key_id)))

    async def set_downloads(self, request: Request) -> Response:
        actor = get_admin(request)
        wish = await read_body(request, DownloadBounds)
        name = request.path_params["name"]
        return json_answer(
            show_workspace(await workspaces.set_downloads(self._records, name, wish, actor=actor.key_id))
        )

    async def get_inspection(self, request: Request) -> Response:
        get_admin(request)
        record = await workspaces.get_workspace(self._records, request.path_params["name"])
        return json_answer(inspection.show_inspection(record.policy.inspection))

    async def set_inspection(self, request: Request) -> Response:
        actor = get_admin(request)
        wish = await read_body(request, InspectionPolicy)
        if wish.check is not None:
            check_remote_reference(wish.check.api_key)
        name = request.path_params["name"]
        record = await inspection.set_inspection(self._records, name, wish, actor=actor.key_id)
        return json_answer(inspection.show_inspection(record.policy.inspection))

    async def activate(self, request: Request) -> Response:
        actor = get_admin(request)
        name = request.path_params["name"]
        record, _ = await workspaces.activate_workspace(self._records, name, self._free_tokens, actor=actor.key_id)
        return json_answer(show_workspace(record))

    async def list_models(self, request: Request) -> Response:
        get_admin(request)
        ordered = sorted((await self._models.read()).values(), key=lambda model: model.name)
        return json_answer({"data": [show_model(model) for model in ordered]})

    async def list_providers(self, request: Request) -> Response:
        get_admin(request)
        return json_answer({"data": await self._models.list_providers()})

    async def preview(self, request: Request) -> Response:
        get_admin(request)
        found = await self._models.preview(await read_body(request, ProviderWish), is_local=False)
        return json_answer(providers.show_preview(found))

    async def add_provider(self, request: Request) -> Response:
        actor = get_admin(request)
        wish = await read_body(request, ProviderWish)
        found = await self._models.preview(wish, is_local=False)
        await self._models.add(wish, found, actor=actor.key_id)
        return json_answer(providers.show_preview(found), 201)

    async def test_provider(self, request: Request) -> Response:
        get_admin(request)
        return json_answer({"probes": providers.show_probes(await self._models.test(request.path_params["name"]))})

    async def remove_provider(self, request: Request) -> Response:
        actor = get_admin(request)
        name = request.path_params["name"]
        await self._models.remove(name, actor=actor.key_id)
        return json_answer({"name": name, "deleted": True})

    async def list_routes(self, request: Request) -> Response:
        get_admin(request)
        models = await self._models.read()
        return json_answer({"data": [routes.show_route(models[name]) for name in sorted(models)]})

    async def set_route(self, request: Request) -> Response:
        actor = get_admin(request)
        wish = await read_body(request, RouteSpec)
        model = await self._models.set_route(request.path_params["model"], wish, actor=actor.key_id)
        return json_answer(routes.show_route(model))

    async def remove_route(self, request: Request) -> Response:
        actor = get_admin(request)
        name = request.path_params["model"]
        await self._models.remove_route(name, actor=actor.key_id)
        return json_answer({"model": name, "deleted": True})

    async def get_usage(self, request: Request) -> Response:
        query = request.query_params
        group_by = tuple(part for part in query.get("group_by", "model").split(",") if part)
        rows = await usage.get_usage(
            self._records,
            workspace=get_scope(request),
            since_s=_seconds(query.get("since"), "since"),
            until_s=_seconds(query.get("until"), "until"),
            group_by=group_by,
        )
        if query.get("format") == "csv":
            return Response(usage.as_csv(rows, group_by), media_type="text/csv")
        return json_answer({"group_by": group_by, "data": rows})

    async def get_receipt(self, request: Request) -> Response:
        receipt = await usage.get_receipt(self._records, request.path_params["request_id"], get_scope(request))
        return json_answer(receipt)

    async def get_audit(self, request: Request) -> Response:
        get_admin(request)
        limit = _seconds(request.query_params.get("limit"), "limit") or 100
        return json_answer(
            {
                "data": await trail.list_entries(
                    self._records, max(int(limit), 1), request.query_params.get("action", "")
                )
            }
        )

    async def get_document(self, request: Request) -> Response:
        get_admin(request)
        return json_answer(make_document(self.sheet(), self._server_url))

    def sheet(self) -> Sheet:
        """What its OpenAPI document is made from."""
        return control_sheet(self.operations)


def _seconds(text: str | None, name: str) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        raise fault(
            "parameter_invalid", detail=f"{name} must be a number, times in Unix seconds.", param=name
        ) from None
