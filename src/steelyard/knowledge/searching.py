"""Plain search by meaning over files: whatever is not indexed yet is taken into a base that the workspace has for this, and searched there."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from steelyard.base.clock import monotonic
from steelyard.canon.grant import Grant
from steelyard.canon.knowledge import FINISH, RUNNING, BaseDocument, BaseSpec, Document, KnowledgeBase, Passage
from steelyard.knowledge.bases import Bases
from steelyard.knowledge.documents import Documents, is_readable
from steelyard.knowledge.retrieval import Question, Retriever
from steelyard.tasks.caller import inner_rights
from steelyard.tasks.library import Library

#: The base that searched files are in. A workspace sees it among its bases and may delete it: the next search makes it anew.
NAME = "searched files"
LOOK_S = 0.15
MAX_FILES = 1000


@dataclass(frozen=True, slots=True)
class Found:
    """Passages; files that are still being read; and those that cannot be, with the reason."""

    passages: list[Passage]
    pending: tuple[str, ...]
    failed: dict[str, str]


class Searching:
    """The use-case."""

    def __init__(self, bases: Bases, documents: Documents, retriever: Retriever, library: Library) -> None:
        self._bases = bases
        self._documents = documents
        self._retriever = retriever
        self._library = library
        self._making = asyncio.Lock()

    async def search(
        self, grant: Grant, query: str, *, files: Sequence[str], bases: Sequence[str], limit: int, wait_s: float
    ) -> Found:
        """Passages of files, bases, or both; of neither, of all files of the workspace that can be read.

        Raises:
            Fault: one of them is not there, or a model refused.
        """
        asked = [await self._bases.get(grant.workspace, one) for one in dict.fromkeys(bases)]
        wanted = tuple(dict.fromkeys(files)) or (() if asked else await self._all_files(grant.workspace))
        passages: list[Passage] = []
        pending: tuple[str, ...] = ()
        failed: dict[str, str] = {}
        if wanted:
            files_asked = await self._documents.gather(grant, wanted)
            home = await self._home(grant)
            rows = await self._taken_in(grant, home, files_asked, wait_s)
            pending = tuple(one.document_id for one in rows.values() if one.status == RUNNING)
            failed = {one.document_id: one.message for one in rows.values() if one.status not in (RUNNING, FINISH)}
            question = Question(text=query, limit=limit, documents=wanted)
            passages += await self._retriever.retrieve(inner_rights(grant), [home], question)
        if asked:
            passages += await self._retriever.retrieve(inner_rights(grant), asked, Question(text=query, limit=limit))
        best = sorted(passages, key=lambda one: -one.score)[:limit]
        return Found(best, pending, failed)

    async def _all_files(self, workspace: str) -> tuple[str, ...]:
        found, _ = await self._library.list_files(workspace, purpose=None, after="", limit=MAX_FILES)
        return tuple(one.id for one in found if is_readable(one.object.name))

    async def _home(self, grant: Grant) -> KnowledgeBase:
        """The workspace's base of searched files."""
        async with self._making:
            found, _ = await self._bases.list_page(grant.workspace, name_part=NAME, limit=10)
            known = next((one for one in found if one.name == NAME), None)
            return known or await self._bases.create(grant, NAME, BaseSpec(description="Files of POST /search"))

    async def _taken_in(
        self, grant: Grant, home: KnowledgeBase, asked: dict[str, Document], wait_s: float
    ) -> dict[str, BaseDocument]:
        """The files in their base, once they are read or the time is over."""
        give_up_at = monotonic() + wait_s
        wanted = tuple(asked)
        rows = await self._rows(home, wanted)
        # a failure of last time may have passed; a document that cannot be read is told so at once, by its own state
        lacking = [one for one in wanted if one not in rows or rows[one].status not in (FINISH, RUNNING)]
        if lacking:
            await self._bases.submit(grant, home, [asked[one] for one in lacking])
        while True:
            rows = await self._rows(home, wanted)
            is_over = all(one.status != RUNNING for one in rows.values())
            if is_over or monotonic() > give_up_at:
                return rows
            await asyncio.sleep(LOOK_S)

    async def _rows(self, home: KnowledgeBase, wanted: Sequence[str]) -> dict[str, BaseDocument]:
        found, _ = await self._bases.list_documents(home.id, document_ids=wanted, limit=MAX_FILES)
        return {one.document_id: one for one in found}
