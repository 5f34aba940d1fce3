"""Knowledge bases: documents taken in with their states, chunks read and corrected, and a bench where retrieval is tried."""

from typing import Any

from starlette.responses import RedirectResponse, Response

from steelyard.base.errors import Fault, fault
from steelyard.canon.knowledge import BaseSpec, KnowledgeBase, Passage
from steelyard.canon.members import DEVELOPER
from steelyard.control import tokens
from steelyard.control.tokens import Narrowing
from steelyard.knowledge.bases import Bases
from steelyard.knowledge.documents import Documents
from steelyard.knowledge.retrieval import HYBRID, MODES, Question, Retriever
from steelyard.tasks.caller import inner_rights
from steelyard.web.answers import secret_answer
from steelyard.web.console.callers import Callers, member_grant
from steelyard.web.console.pages import Pages
from steelyard.web.console.reception import Act
from steelyard.web.console.visit import Visit

HOME = "/console/knowledge"
BASES, DOCUMENTS, CHUNKS = 100, 200, 30


class KnowledgeRoom:
    """The pages of knowledge bases."""

    def __init__(
        self, bases: Bases, documents: Documents, retriever: Retriever, callers: Callers, pages: Pages
    ) -> None:
        self._bases = bases
        self._documents = documents
        self._retriever = retriever
        self._callers = callers
        self._pages = pages
        base = f"{HOME}/{{base}}"
        self.acts = (
            Act("GET", HOME, self.list_bases),
            Act("POST", HOME, self.create, DEVELOPER),
            Act("GET", base, self.show),
            Act("GET", f"{base}/documents", self.documents),
            Act("POST", f"{base}/documents", self.take_in, DEVELOPER),
            Act("POST", f"{base}/token", self.mint, DEVELOPER),
            Act("POST", f"{base}/documents/{{document}}/remove", self.remove_document, DEVELOPER),
            Act("GET", f"{base}/chunks", self.list_chunks),
            Act("POST", f"{base}/chunks", self.change_chunk, DEVELOPER),
            Act("POST", f"{base}/search", self.search, DEVELOPER),
            Act("POST", f"{base}/delete", self.delete, DEVELOPER),
        )

    # bases

    async def list_bases(self, visit: Visit) -> Response:
        return await self._list(visit, None)

    async def _list(self, visit: Visit, failure: Fault | None) -> Response:
        found, total = await self._bases.list_page(visit.workspace, name_part="", offset=0, limit=BASES)
        counts = [(one, sum((await self._bases.count_documents(one.id))[0].values())) for one in found]
        return self._pages.render(
            visit,
            "bases.html",
            200 if failure is None else failure.status,
            bases=counts,
            total=total,
            failure=failure,
        )

    async def create(self, visit: Visit) -> Response:
        try:
            name = visit.form.get("name")
            if not 1 <= len(name) <= 100:
                raise fault("parameter_invalid", detail="A name has 1 to 100 characters.", param="name")
            spec = BaseSpec(description=visit.form.get("description"))
            made = await self._bases.create(member_grant(visit), name, spec)
        except Fault as failure:
            return await self._list(visit, failure)
        return RedirectResponse(f"{HOME}/{made.id}?done=base_made", status_code=303)

    async def show(self, visit: Visit) -> Response:
        return await self._show(visit, await self._get(visit))

    async def delete(self, visit: Visit) -> Response:
        await self._bases.delete(visit.workspace, (await self._get(visit)).id)
        return RedirectResponse(f"{HOME}?done=base_deleted", status_code=303)

    # documents

    async def documents(self, visit: Visit) -> Response:
        """The documents with their states; the page asks every two seconds while one is being taken in."""
        base = await self._get(visit)
        found, total = await self._bases.list_documents(base.id, status="", name_part="", offset=0, limit=DOCUMENTS)
        return self._pages.render(visit, "base_documents.html", base=base, documents=found, total=total)

    async def mint(self, visit: Visit) -> Response:
        """A token by which the browser uploads files."""
        narrowing = Narrowing(operations=("files",), resource="/v1/files")
        return secret_answer(tokens.show_token(await self._callers.mint(visit, narrowing)))

    async def take_in(self, visit: Visit) -> Response:
        """Takes uploaded files into the base."""
        base, grant = await self._get(visit), await self._callers.grant(visit)
        wanted = visit.form.get_list("files")
        if not wanted:
            raise fault("parameter_invalid", detail="No file is named.", param="files")
        found = list((await self._documents.gather(grant, wanted)).values())
        await self._bases.submit(grant, base, found)
        return RedirectResponse(f"{HOME}/{base.id}?done=documents_taken", status_code=303)

    async def remove_document(self, visit: Visit) -> Response:
        base, document = await self._get(visit), visit.request.path_params["document"]
        if not await self._bases.remove_documents(base, [document]):
            raise fault("document_not_found", id=document[:100])
        return RedirectResponse(f"{HOME}/{base.id}?done=document_removed", status_code=303)

    # chunks

    async def list_chunks(self, visit: Visit) -> Response:
        base, document = await self._get(visit), visit.query.get("document", "")
        offset = (visit.page_no - 1) * CHUNKS
        found, total = await self._bases.list_chunks(base, document or None, offset=offset, limit=CHUNKS)
        return self._pages.render(
            visit,
            "chunks.html",
            base=base,
            chunks=found,
            total=total,
            page=CHUNKS,
            document=document,
            keys=await self._usable(visit),
        )

    async def change_chunk(self, visit: Visit) -> Response:
        """A chunk's text, and whether it is found; a new text is embedded as the key that was chosen."""
        base, form = await self._get(visit), visit.form
        text = form.get("text")
        if not 1 <= len(text) <= 6000:
            raise fault("parameter_invalid", detail="A chunk has 1 to 6000 characters.", param="text")
        grant = await self._callers.grant(visit)
        await self._bases.change_chunk(grant, base, form.get("chunk"), text=text, is_enabled=form.has("enabled"))
        return RedirectResponse(f"{HOME}/{base.id}/chunks?done=chunk_changed", status_code=303)

    # retrieval

    async def search(self, visit: Visit) -> Response:
        """The bench: what a question finds, by which way, with its scores."""
        base, form = await self._get(visit), visit.form
        mode = form.get("mode") or HYBRID
        if mode not in MODES or not form.get("query"):
            raise fault("parameter_invalid", detail=f"Ask something; mode is one of {', '.join(MODES)}.", param="mode")
        question = Question(text=form.get("query"), limit=form.get_int("limit") or 5, mode=mode)
        rights = inner_rights(await self._callers.grant(visit))
        return await self._show(visit, base, await self._retriever.retrieve(rights, [base], question))

    async def _show(self, visit: Visit, base: KnowledgeBase, passages: list[Passage] | None = None) -> Response:
        found, total = await self._bases.list_documents(base.id, status="", name_part="", offset=0, limit=DOCUMENTS)
        return self._pages.render(
            visit,
            "base.html",
            base=base,
            documents=found,
            total=total,
            passages=passages,
            modes=MODES,
            keys=await self._usable(visit),
        )

    async def _usable(self, visit: Visit) -> list[Any]:
        return list(await self._callers.list_usable(visit)) if visit.who.may(DEVELOPER) else []

    async def _get(self, visit: Visit) -> KnowledgeBase:
        return await self._bases.get(visit.workspace, visit.request.path_params["base"])
