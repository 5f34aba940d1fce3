"""设置 → API Key: keys are made, shown once, limited, switched, replaced and deleted; the first call is seen as it comes."""

from starlette.responses import RedirectResponse, Response

from steelyard.base.errors import Fault, fault
from steelyard.base.tokens import Signer
from steelyard.canon.members import DEVELOPER, OPERATOR
from steelyard.control import keys, tokens, usage
from steelyard.control.keys import KeyRecord
from steelyard.control.limits import show_budget
from steelyard.control.model_book import ModelBook
from steelyard.control.records import Records
from steelyard.control.usage import CallFilter
from steelyard.web.console.code import code_of, first_call
from steelyard.web.console.limit_fields import read_limits
from steelyard.web.console.pages import Pages
from steelyard.web.console.reception import Act
from steelyard.web.console.visit import Visit

PAGE = 50
HOME = "/console/settings/keys"


class KeysRoom:
    """The pages of keys."""

    def __init__(self, records: Records, models: ModelBook, pages: Pages, signer: Signer, base_url: str) -> None:
        self._records = records
        self._models = models
        self._pages = pages
        self._signer = signer
        self._base_url = base_url
        self.acts = (
            Act("GET", HOME, self.list_keys),
            Act("GET", f"{HOME}/new", self.form, DEVELOPER),
            Act("POST", HOME, self.create, DEVELOPER),
            Act("GET", f"{HOME}/{{key_id}}", self.show),
            Act("GET", f"{HOME}/{{key_id}}/first-call", self.first_call),
            Act("POST", f"{HOME}/{{key_id}}/limits", self.limit, DEVELOPER),
            Act("POST", f"{HOME}/{{key_id}}/disable", self.disable, DEVELOPER),
            Act("POST", f"{HOME}/{{key_id}}/enable", self.enable, DEVELOPER),
            Act("POST", f"{HOME}/{{key_id}}/rotate", self.rotate, DEVELOPER),
            Act("POST", f"{HOME}/{{key_id}}/token", self.mint, DEVELOPER),
            Act("POST", f"{HOME}/{{key_id}}/delete", self.delete, DEVELOPER),
        )

    async def list_keys(self, visit: Visit) -> Response:
        text = visit.query.get("q", "").strip()
        found = await keys.list_key_page(
            self._records, visit.workspace, text=text, before=_read_place(visit.query.get("before", "")), limit=PAGE + 1
        )
        shown = found[:PAGE]
        older = f"{shown[-1].created_us}.{shown[-1].grant.key_id}" if len(found) > PAGE else ""
        return self._pages.render(visit, "keys.html", keys=shown, text=text, older=older)

    async def form(self, visit: Visit) -> Response:
        return self._pages.render(visit, "key_new.html", form=visit.form, kinds=_kinds(visit))

    async def create(self, visit: Visit) -> Response:
        """Makes the key; the answer is the one page that ever shows it."""
        form = visit.form
        kind = form.get("kind") or keys.API
        try:
            if kind not in _kinds(visit):
                raise fault("role_too_low", role=OPERATOR)
            expires = form.get("expires")
            made = await keys.create_key(
                self._records,
                name=form.get("name"),
                actor=visit.who.id,
                workspace=visit.workspace,
                kind=kind,
                models=form.get_list("models"),
                networks=form.get_list("networks"),
                expires_in_s=keys.parse_duration_s(expires) if expires else None,
                limits=read_limits(form),
            )
        except Fault as failure:
            return self._pages.render(
                visit, "key_new.html", failure.status, form=form, kinds=_kinds(visit), failure=failure
            )
        return await self._show_secret(visit, made)

    async def show(self, visit: Visit) -> Response:
        return await self._show(visit, await self._get(visit), None)

    async def _show(self, visit: Visit, record: KeyRecord, failure: Fault | None) -> Response:
        subject = f"key:{record.grant.lineage or record.grant.key_id}"
        budget = await show_budget(self._records, subject, record.grant.limits)
        return self._pages.render(
            visit,
            "key.html",
            200 if failure is None else failure.status,
            key=record,
            limits=record.grant.limits,
            budget=budget,
            failure=failure,
        )

    async def first_call(self, visit: Visit) -> Response:
        """The newest call of a key, once there is one; the page asks every second until then."""
        record = await self._get(visit)
        rows, _ = await usage.list_calls(
            self._records, record.grant.workspace, CallFilter(key_id=record.grant.key_id), limit=1
        )
        return self._pages.render(visit, "first_call.html", key_id=record.grant.key_id, call=rows[0] if rows else None)

    async def limit(self, visit: Visit) -> Response:
        record = await self._get(visit, for_change=True)
        try:
            limits = read_limits(visit.form)
            await keys.set_limits(self._records, record.grant.key_id, limits, actor=visit.who.id)
        except Fault as failure:
            return await self._show(visit, record, failure)
        return RedirectResponse(f"{HOME}/{record.grant.key_id}?done=limits_set", status_code=303)

    async def disable(self, visit: Visit) -> Response:
        return await self._switch(visit, is_disabled=True)

    async def enable(self, visit: Visit) -> Response:
        return await self._switch(visit, is_disabled=False)

    async def _switch(self, visit: Visit, *, is_disabled: bool) -> Response:
        record = await self._get(visit, for_change=True)
        await keys.set_disabled(self._records, record.grant.key_id, is_disabled, actor=visit.who.id)
        done = "key_disabled" if is_disabled else "key_enabled"
        return RedirectResponse(f"{HOME}/{record.grant.key_id}?done={done}", status_code=303)

    async def rotate(self, visit: Visit) -> Response:
        record = await self._get(visit, for_change=True)
        grace_s = keys.parse_duration_s(visit.form.get("grace") or "1h")
        if record.grant.kind == keys.ACCESS:
            raise fault(
                "parameter_invalid", detail="Access keys are replaced by `steelyard keys rotate`.", param="kind"
            )
        made = await keys.rotate_key(self._records, record.grant.key_id, grace_s, actor=visit.who.id)
        return await self._show_secret(visit, made)

    async def mint(self, visit: Visit) -> Response:
        """A temporary token of the key, for 1 to 1800 seconds."""
        record = await self._get(visit, for_change=True)
        lifetime_s = tokens.parse_lifetime_s(visit.form.get("seconds"))
        narrowing = tokens.Narrowing(models=visit.form.get_list("models"), once=visit.form.has("once"))
        made = await tokens.mint_token(self._records, self._signer, record.grant, lifetime_s, narrowing)
        return self._pages.render(visit, "token_made.html", key=record, token=made, lifetime_s=lifetime_s)

    async def delete(self, visit: Visit) -> Response:
        record = await self._get(visit, for_change=True)
        await keys.delete_key(self._records, record.grant.key_id, actor=visit.who.id)
        return RedirectResponse(f"{HOME}?done=key_deleted", status_code=303)

    async def _get(self, visit: Visit, *, for_change: bool = False) -> KeyRecord:
        """A key that the visitor sees. Keys that manage the installation are changed by operators alone."""
        key_id = visit.request.path_params["key_id"]
        record = await keys.get_key(self._records, key_id)
        if not visit.who.sees(record.grant.workspace):
            raise fault("resource_not_found", detail=f" There is no key {key_id!r}.")
        if for_change and record.grant.kind != keys.API and keys.ADMIN not in _kinds(visit):
            raise fault("role_too_low", role=OPERATOR)
        return record

    async def _show_secret(self, visit: Visit, made: keys.NewKey) -> Response:
        names = made.record.grant.models or tuple(
            name for name, model in (await self._models.read()).items() if "chat" in model.targets[0].operations
        )
        model = "qwen-plus" if "qwen-plus" in names else next(iter(sorted(names)), "qwen-plus")
        return self._pages.render(
            visit,
            "key_made.html",
            made=made,
            samples=code_of(first_call(self._base_url, made.secret, model)),
            model=model,
        )


def _kinds(visit: Visit) -> tuple[str, ...]:
    """What kinds of key a member may make: an admin key opens the whole installation. Access keys are made by the command line."""
    return (keys.API, keys.ADMIN) if visit.who.may(OPERATOR) and visit.who.is_everywhere else (keys.API,)


def _read_place(text: str) -> tuple[int, str] | None:
    """Where a page goes on: `CREATED_US.ID`; whatever else begins anew."""
    at, _, key_id = text.partition(".")
    return (int(at), key_id) if key_id and at.isascii() and at.isdigit() and len(at) < 19 else None
