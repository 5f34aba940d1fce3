"""Parts that knowledge bases need, in the face and in workers: the search index, what reads documents, what asks models."""

import logging
from pathlib import Path

from steelyard.assembly.media import READER_SLOTS
from steelyard.base.errors import SetupFault
from steelyard.canon.model import Model
from steelyard.canon.task import INGESTION, PARSING
from steelyard.config import Settings
from steelyard.control.model_book import ModelBook
from steelyard.knowledge.answering import Answering
from steelyard.knowledge.bases import Bases
from steelyard.knowledge.documents import Documents
from steelyard.knowledge.index import SearchIndex
from steelyard.knowledge.ingestion import IngestionRunner, ParsingRunner
from steelyard.knowledge.leases import Leases
from steelyard.knowledge.models import Models
from steelyard.knowledge.opening_index import OpeningIndex
from steelyard.knowledge.reader import Reader
from steelyard.knowledge.reading import Reading
from steelyard.knowledge.retrieval import Retriever
from steelyard.knowledge.searching import Searching
from steelyard.store.database import Database
from steelyard.tasks.caller import Caller
from steelyard.tasks.desk import Desk
from steelyard.tasks.job import Runner
from steelyard.tasks.library import Library
from steelyard.tasks.shelf import Shelf
from steelyard.web.app import Routed
from steelyard.web.bailian_api import BailianApi, LeaseApi
from steelyard.web.bailian_documents import DocumentActions
from steelyard.web.bailian_indices import IndexActions
from steelyard.web.indices_api import IndicesApi
from steelyard.web.knowledge_api import KnowledgeApi
from steelyard.web.vector_stores_api import VectorStoresApi

log = logging.getLogger("steelyard.knowledge")

INDEX_FILE = "knowledge.db"


async def open_index(settings: Settings, database: Database) -> SearchIndex:
    """The search index of this installation.

    Raises:
        SetupFault: it is to be in the database, and that has no pgvector.
    """
    if settings.knowledge.index != "embedded" and not database.is_sqlite:
        # imported here, as below: a start that needs none of it does not wait for it
        from steelyard.knowledge.postgres_index import open_postgres_index

        opened = await open_postgres_index(database)
        if opened is not None:
            return opened
        told = "The database has no pgvector, and may not get it: `CREATE EXTENSION vector` as its owner."
        if settings.knowledge.index == "database":
            raise SetupFault(f"[knowledge] index: {told}")
        log.warning(
            "%s Chunks are indexed in %s/%s; several machines would not share them.",
            told,
            settings.data_dir,
            INDEX_FILE,
        )
    path = Path(settings.data_dir) / INDEX_FILE

    def opening() -> SearchIndex:
        from steelyard.knowledge.embedded_index import EmbeddedIndex

        return EmbeddedIndex(path)

    return OpeningIndex(opening)


def knowledge_runners(settings: Settings, shelf: Shelf, caller: Caller, index: SearchIndex) -> dict[str, Runner]:
    """What workers do for knowledge bases."""
    work_dir = Path(settings.data_dir) / "spool"
    reading = Reading(shelf, Reader(READER_SLOTS, work_dir), work_dir)
    models = Models(caller)
    return {
        PARSING: ParsingRunner(shelf.database, reading),
        INGESTION: IngestionRunner(shelf.database, reading, index, models),
    }


class KnowledgeHouse:
    """The services of knowledge bases in the face, and the paths by which they are reached."""

    def __init__(
        self,
        settings: Settings,
        master_key: bytes,
        shelf: Shelf,
        desk: Desk,
        index: SearchIndex,
        caller: Caller,
        book: ModelBook,
    ) -> None:
        async def find_model(name: str) -> Model | None:
            return (await book.read()).get(name)

        models = Models(caller)
        self.documents = Documents(shelf, desk, index)
        self.bases = Bases(shelf.database, desk, index, models, find_model)
        self.retriever = Retriever(shelf.database, index, models)
        self.answering = Answering(self.bases, self.retriever)
        self._library = Library(shelf, master_key)
        searching = Searching(self.bases, self.documents, self.retriever, self._library)
        #: What the control API has of knowledge bases.
        self.control = KnowledgeApi(self.bases, self.documents, self.retriever, searching)
        self._leases = Leases(master_key, settings.link_origin)

    def faces(self) -> tuple[Routed, ...]:
        """Every API of knowledge bases beside the control API."""
        protocol = BailianApi(
            DocumentActions(self.documents, self._leases), IndexActions(self.bases, self.documents, self.retriever)
        )
        return (
            protocol,
            IndicesApi(protocol.actions),
            LeaseApi(self._leases, self.documents),
            VectorStoresApi(self.bases, self.documents, self.retriever),
        )
