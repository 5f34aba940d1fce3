"""Documents and media that a call refers to, put in before anything is decided about it: what is held and inspected is all of it."""

from steelyard.base.jsondoor import decode_object, encode
from steelyard.canon.contents import Want
from steelyard.canon.grant import Workspace
from steelyard.dialects.dashscope_media import bounds_of, resolves_oss
from steelyard.dialects.links import OwnLinks, rewrite_links
from steelyard.gateway.ports import Supply
from steelyard.policy.contents import ContentsAsk


class Contents:
    """Puts in what calls refer to."""

    def __init__(self, supply: Supply, links: OwnLinks) -> None:
        self._supply = supply
        self._links = links
        self.concerns = links.concerns
        self.has_links = links.may_be_in

    async def put_in(self, workspace: Workspace, body: bytes, headers: dict[bytes, bytes]) -> bytes:
        """A call's body with its links' contents in their places; the same bytes where it has no such link.

        Raises:
            Fault: the body is no JSON object, or a link leads to nothing that the workspace may use.
        """
        call = decode_object(body)
        found: dict[Want, str] = {}

        def note(link: str, form: str) -> str:
            found[Want(link, form)] = ""
            return link

        rewrite_links(call, self._links, note)
        if not found:
            return body
        wants = tuple(found)
        ask = ContentsAsk(
            workspace=workspace.name,
            wants=wants,
            resolves_oss=resolves_oss(headers),
            downloads=bounds_of(headers).within(workspace.downloads),
        )
        values = await self._supply.supply(ask)
        found = dict(zip(wants, values, strict=True))
        return encode(rewrite_links(call, self._links, lambda link, form: found[Want(link, form)]))
