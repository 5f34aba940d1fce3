"""Apps: edited as drafts, published as versions, tried as their callers do; plugins: switched, looked into, tried."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.responses import RedirectResponse, Response

from steelyard.apps.book import AppBook
from steelyard.apps.plugin_book import PluginBook
from steelyard.base.errors import Fault, fault
from steelyard.canon.apps import MCP, OPENAPI, App, AppSpec, Credential, Plugin, PluginSpec
from steelyard.canon.grant import Grant
from steelyard.canon.members import DEVELOPER, OPERATOR
from steelyard.control import tokens
from steelyard.control.model_book import ModelBook
from steelyard.control.providers import check_remote_reference
from steelyard.control.tokens import Narrowing
from steelyard.web.answers import secret_answer
from steelyard.web.app_host_api import Called
from steelyard.web.console.callers import Callers, member_grant
from steelyard.web.console.pages import Pages
from steelyard.web.console.reception import Act
from steelyard.web.console.visit import Form, Visit

APPS, PLUGINS = "/console/apps", "/console/plugins"
PAGE = 100


@dataclass(frozen=True, slots=True)
class AppServices:
    """What the rooms of apps and plugins work with."""

    book: AppBook
    plugins: PluginBook
    call_tool: Callable[[Plugin, str, dict[str, Any], Grant], Awaitable[Called]]


class AppsRoom:
    """The pages of apps."""

    def __init__(self, services: AppServices, models: ModelBook, callers: Callers, pages: Pages, base_url: str) -> None:
        self._book = services.book
        self._plugins = services.plugins
        self._models = models
        self._callers = callers
        self._pages = pages
        self._base_url = base_url
        self.acts = (
            Act("GET", APPS, self.list_apps),
            Act("GET", f"{APPS}/new", self.form, DEVELOPER),
            Act("POST", APPS, self.create, DEVELOPER),
            Act("GET", f"{APPS}/{{app}}", self.show),
            Act("POST", f"{APPS}/{{app}}", self.change, DEVELOPER),
            Act("POST", f"{APPS}/{{app}}/publish", self.publish, DEVELOPER),
            Act("POST", f"{APPS}/{{app}}/rollback", self.roll_back, DEVELOPER),
            Act("POST", f"{APPS}/{{app}}/delete", self.delete, DEVELOPER),
            Act("POST", f"{APPS}/{{app}}/token", self.mint, DEVELOPER),
        )

    async def list_apps(self, visit: Visit) -> Response:
        found, total = await self._book.list_page(visit.workspace, offset=0, limit=PAGE)
        return self._pages.render(visit, "apps.html", apps=found, total=total)

    async def form(self, visit: Visit) -> Response:
        return await self._form(visit, None)

    async def create(self, visit: Visit) -> Response:
        try:
            spec = _read_spec(visit.form, AppSpec(model="-"))
            made = await self._book.create(visit.workspace, visit.form.get("name"), spec, actor=visit.who.id)
        except Fault as failure:
            return await self._form(visit, failure)
        return RedirectResponse(f"{APPS}/{made.id}?done=app_made", status_code=303)

    async def show(self, visit: Visit) -> Response:
        return await self._show(visit, await self._get(visit), None)

    async def change(self, visit: Visit) -> Response:
        app = await self._get(visit)
        try:
            spec = _read_spec(visit.form, app.draft)
            await self._book.change(
                visit.workspace, app.id, name=visit.form.get("name") or None, spec=spec, actor=visit.who.id
            )
        except Fault as failure:
            return await self._show(visit, app, failure)
        return RedirectResponse(f"{APPS}/{app.id}?done=app_changed", status_code=303)

    async def publish(self, visit: Visit) -> Response:
        app = await self._book.publish(visit.workspace, self._id(visit), actor=visit.who.id)
        return RedirectResponse(f"{APPS}/{app.id}?done=app_published", status_code=303)

    async def roll_back(self, visit: Visit) -> Response:
        version = visit.form.get_int("version")
        app = await self._book.roll_back(visit.workspace, self._id(visit), version or 0, actor=visit.who.id)
        return RedirectResponse(f"{APPS}/{app.id}?done=app_rolled_back", status_code=303)

    async def delete(self, visit: Visit) -> Response:
        await self._book.delete(visit.workspace, self._id(visit), actor=visit.who.id)
        return RedirectResponse(f"{APPS}?done=app_deleted", status_code=303)

    async def mint(self, visit: Visit) -> Response:
        """A token for one call of the app."""
        app = await self._get(visit)
        narrowing = Narrowing(operations=("apps",), resource=f"/api/v1/apps/{app.id}/completion", once=True)
        return secret_answer(tokens.show_token(await self._callers.mint(visit, narrowing)))

    async def _form(self, visit: Visit, failure: Fault | None) -> Response:
        return self._pages.render(
            visit,
            "app_new.html",
            200 if failure is None else failure.status,
            form=visit.form,
            models=await self._chat_models(),
            plugins=await self._plugins.list_all(visit.workspace),
            failure=failure,
        )

    async def _show(self, visit: Visit, app: App, failure: Fault | None) -> Response:
        return self._pages.render(
            visit,
            "app.html",
            200 if failure is None else failure.status,
            app=app,
            versions=await self._book.list_versions(visit.workspace, app.id),
            models=await self._chat_models(),
            plugins=await self._plugins.list_all(visit.workspace),
            keys=await self._callers.list_usable(visit) if visit.who.may(DEVELOPER) else [],
            base_url=self._base_url,
            failure=failure,
        )

    async def _chat_models(self) -> list[str]:
        models = await self._models.read()
        return sorted(name for name, model in models.items() if "chat" in model.targets[0].operations)

    async def _get(self, visit: Visit) -> App:
        return await self._book.get(visit.workspace, self._id(visit))

    @staticmethod
    def _id(visit: Visit) -> str:
        app_id: str = visit.request.path_params["app"]
        return app_id


class PluginsRoom:
    """The pages of plugins."""

    def __init__(self, services: AppServices, pages: Pages) -> None:
        self._plugins = services.plugins
        self._call_tool = services.call_tool
        self._pages = pages
        self.acts = (
            Act("GET", PLUGINS, self.list_plugins),
            Act("GET", f"{PLUGINS}/new", self.form, OPERATOR),
            Act("POST", PLUGINS, self.add, OPERATOR),
            Act("GET", f"{PLUGINS}/{{plugin}}", self.show),
            Act("POST", f"{PLUGINS}/{{plugin}}/switch", self.switch, OPERATOR),
            Act("POST", f"{PLUGINS}/{{plugin}}/approve", self.approve, OPERATOR),
            Act("POST", f"{PLUGINS}/{{plugin}}/remove", self.remove, OPERATOR),
            Act("POST", f"{PLUGINS}/{{plugin}}/test", self.test, DEVELOPER),
        )

    async def list_plugins(self, visit: Visit) -> Response:
        return self._pages.render(visit, "plugins.html", plugins=await self._plugins.list_all(visit.workspace))

    async def form(self, visit: Visit) -> Response:
        return self._pages.render(visit, "plugin_new.html", form=visit.form)

    async def add(self, visit: Visit) -> Response:
        form = visit.form
        try:
            secret = form.get("secret")
            check_remote_reference(secret)
            spec = PluginSpec(
                kind=OPENAPI if form.get("document") else MCP,
                description=form.get("description"),
                url=form.get("url"),
                transport="sse" if form.has("sse") else "http",
                credential=Credential(kind=form.get("auth") or "none", name=form.get("auth_name")),
                only=form.get_list("only"),
            )
            made = await self._plugins.add(
                visit.workspace, form.get("name"), spec, form.get_raw("document"), secret, actor=visit.who.id
            )
        except Fault as failure:
            return self._pages.render(visit, "plugin_new.html", failure.status, form=form, failure=failure)
        return RedirectResponse(f"{PLUGINS}/{made.name}?done=plugin_added", status_code=303)

    async def show(self, visit: Visit) -> Response:
        return await self._show(visit, None, None)

    async def switch(self, visit: Visit) -> Response:
        name = self._name(visit)
        is_enabled = visit.form.get("to") == "on"
        await self._plugins.switch(visit.workspace, name, is_enabled=is_enabled, actor=visit.who.id)
        return RedirectResponse(f"{PLUGINS}/{name}?done=plugin_switched", status_code=303)

    async def approve(self, visit: Visit) -> Response:
        name = self._name(visit)
        await self._plugins.approve(visit.workspace, name, actor=visit.who.id)
        return RedirectResponse(f"{PLUGINS}/{name}?done=plugin_approved", status_code=303)

    async def remove(self, visit: Visit) -> Response:
        await self._plugins.remove(visit.workspace, self._name(visit), actor=visit.who.id)
        return RedirectResponse(f"{PLUGINS}?done=plugin_removed", status_code=303)

    async def test(self, visit: Visit) -> Response:
        """Calls a tool alone, and shows what it says."""
        plugin = await self._plugins.get(visit.workspace, self._name(visit))
        tool = visit.form.get("tool")
        try:
            arguments = msgspec.json.decode(visit.form.get("arguments") or "{}", type=dict[str, Any])
        except msgspec.DecodeError as exc:
            failure = fault("parameter_invalid", detail=f"The arguments are no JSON object: {exc}.", param="arguments")
            return await self._show(visit, None, failure)
        called = await self._call_tool(plugin, tool, arguments, member_grant(visit))
        if called.fault is not None:
            return await self._show(visit, None, called.fault.to_fault())
        return await self._show(visit, (tool, visit.form.get("arguments"), called), None)

    async def _show(self, visit: Visit, called: tuple[str, str, Called] | None, failure: Fault | None) -> Response:
        plugin = await self._plugins.get(visit.workspace, self._name(visit))
        shown = [(one, msgspec.json.format(msgspec.json.encode(one.parameters)).decode()) for one in plugin.tools]
        return self._pages.render(
            visit,
            "plugin.html",
            200 if failure is None else failure.status,
            plugin=plugin,
            tools=shown,
            called=called,
            failure=failure,
        )

    @staticmethod
    def _name(visit: Visit) -> str:
        name: str = visit.request.path_params["plugin"]
        return name


def _read_spec(form: Form, before: AppSpec) -> AppSpec:
    """The draft that a form describes; what it does not show stays.

    Raises:
        Fault: naming the field at fault.
    """
    fields = {
        "model": form.get("model"),
        "instructions": form.get("instructions"),
        "description": form.get("description"),
        "knowledge_bases": form.get_list("knowledge_bases"),
        "tools": form.get_list("tools"),
        "is_mcp": form.has("is_mcp"),
    }
    try:
        return msgspec.convert({**msgspec.to_builtins(before), **fields}, AppSpec)
    except msgspec.ValidationError as exc:
        raise fault("parameter_invalid", detail=f"{exc}.") from None
