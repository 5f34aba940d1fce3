"""The console's rooms under one roof."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from steelyard.base.secrets import derive
from steelyard.base.tokens import Signer
from steelyard.control.members import Members
from steelyard.control.model_book import ModelBook
from steelyard.control.records import Records
from steelyard.control.tickets import Tickets
from steelyard.knowledge.bases import Bases
from steelyard.knowledge.documents import Documents
from steelyard.knowledge.retrieval import Retriever
from steelyard.tasks.desk import Desk
from steelyard.tasks.library import Library
from steelyard.web.console.apps_room import AppServices, AppsRoom, PluginsRoom
from steelyard.web.console.assets import Assets
from steelyard.web.console.callers import Callers
from steelyard.web.console.entrance import Entrance
from steelyard.web.console.hub_room import HubRoom
from steelyard.web.console.keys_room import KeysRoom
from steelyard.web.console.knowledge_room import KnowledgeRoom
from steelyard.web.console.members_room import MembersRoom
from steelyard.web.console.models_room import ModelsRoom
from steelyard.web.console.overview_room import OverviewRoom
from steelyard.web.console.pages import Pages
from steelyard.web.console.parts_room import PartsRoom
from steelyard.web.console.playground import Playground
from steelyard.web.console.promql_room import PromqlRoom
from steelyard.web.console.providers_room import ProvidersRoom
from steelyard.web.console.reception import Act, Reception, Room
from steelyard.web.console.requests_room import RequestsRoom
from steelyard.web.console.tasks_room import TasksRoom
from steelyard.web.console.usage_room import UsageRoom
from steelyard.web.console.visit import FormTokens
from steelyard.web.console.workspaces_room import WorkspacesRoom


@dataclass(frozen=True, slots=True)
class ConsoleRules:
    """What an operator decides of the console."""

    registration: Literal["closed", "open"]
    register_as: str
    is_development: bool
    free_tokens: int
    #: The origin of links and of the lines that are pasted.
    public_url: str
    #: The settings as they are shown, secrets masked.
    settings: dict[str, Any]


class KnowledgeServices(Protocol):
    """What knowledge bases are worked on by."""

    bases: Bases
    documents: Documents
    retriever: Retriever


class Console:
    """Every page of the console."""

    def __init__(
        self,
        records: Records,
        models: ModelBook,
        members: Members,
        desk: Desk,
        library: Library,
        knowledge: KnowledgeServices,
        apps: AppServices,
        master_key: bytes,
        rules: ConsoleRules,
    ) -> None:
        self._assets = Assets()
        tokens = FormTokens(derive(master_key, "console-forms"))
        pages = Pages(self._assets, tokens)
        signer, url = Signer(master_key), rules.public_url
        callers = Callers(records, signer)
        self._reception = Reception(records, members, pages, tokens)
        rooms: list[Room] = [
            Entrance(
                members,
                Tickets(master_key),
                pages,
                registration=rules.registration,
                register_as=rules.register_as,
                is_secure=url.startswith("https://"),
            ),
            OverviewRoom(records, models, pages, rules.free_tokens, url),
            HubRoom(models, pages),
            ModelsRoom(models, pages),
            Playground(models, callers, pages, url),
            RequestsRoom(records, models, pages, rules.settings),
            UsageRoom(records, pages),
            TasksRoom(desk, library, pages),
            KnowledgeRoom(knowledge.bases, knowledge.documents, knowledge.retriever, callers, pages),
            AppsRoom(apps, models, callers, pages, url),
            PluginsRoom(apps, pages),
            PromqlRoom(callers, pages),
            ProvidersRoom(models, pages),
            KeysRoom(records, models, pages, signer, url),
            WorkspacesRoom(records, pages),
            MembersRoom(records, members, pages, url),
        ]
        if rules.is_development:
            rooms.append(PartsRoom(pages))
        self.acts: tuple[Act, ...] = tuple(act for room in rooms for act in room.acts)

    def __repr__(self) -> str:
        return f"<Console [{len(self.acts)} acts]>"

    def routes(self) -> list[Route]:
        """The Starlette routes."""
        return [
            Route("/", _front),
            Route("/console", _front),
            Route("/hub", _to_hub),
            *self._assets.routes(),
            *(self._reception.route(act) for act in self.acts),
        ]


async def _front(_: Request) -> Response:
    """The root says where to go; it shows nothing of the installation."""
    return RedirectResponse("/console/", status_code=302)


async def _to_hub(_: Request) -> Response:
    return RedirectResponse("/hub/", status_code=302)
