"""As which key something is done that calls models: whoever acts in the console spends as a key that they choose."""

from steelyard.base.errors import fault
from steelyard.base.tokens import Signer
from steelyard.canon.grant import Grant
from steelyard.control import keys, tokens
from steelyard.control.keys import KeyRecord
from steelyard.control.records import Records
from steelyard.control.tokens import Narrowing
from steelyard.web.console.visit import Visit

MAX_KEYS = 100
TOKEN_S = 60


class Callers:
    """The keys of a workspace, as those that calls are made by."""

    def __init__(self, records: Records, signer: Signer) -> None:
        self._records = records
        self._signer = signer

    async def list_usable(self, visit: Visit) -> list[KeyRecord]:
        """The newest keys that can call."""
        found = await keys.list_key_page(self._records, visit.workspace, limit=MAX_KEYS)
        return [one for one in found if one.grant.kind == keys.API and not one.grant.is_disabled]

    async def get(self, visit: Visit) -> KeyRecord:
        """The key that a form names.

        Raises:
            Fault: there is none of it in the workspace.
        """
        record = await keys.get_key(self._records, visit.form.get("key"))
        if record.grant.workspace != visit.workspace or record.grant.kind != keys.API or record.grant.is_disabled:
            raise fault("resource_not_found", detail=" There is no such key in this workspace.")
        return record

    async def grant(self, visit: Visit) -> Grant:
        """What that key allows."""
        return (await self.get(visit)).grant

    async def mint(self, visit: Visit, narrowing: Narrowing) -> tokens.NewToken:
        """A token of that key for the browser, good for a minute."""
        record = await self.get(visit)
        return await tokens.mint_token(self._records, self._signer, record.grant, TOKEN_S, narrowing)


def member_grant(visit: Visit) -> Grant:
    """A member as whom the audit trail and services of the workspace know: no key, and nothing that calls a model."""
    return Grant(key_id=visit.who.id, workspace=visit.workspace)
