"""The console's rooms under one roof."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from steelyard.base.errors import fault
from steelyard.base.sealing import Sealer
from steelyard.base.secrets import derive
from steelyard.base.tokens import Signer
from steelyard.control.hub.meaning import Embed, MeaningSearch
from steelyard.control.identities import IdentityProvider
from steelyard.control.members import Members
from steelyard.control.model_book import ModelBook
from steelyard.control.records import Records
from steelyard.control.tickets import Tickets
from steelyard.knowledge.bases import Bases
from steelyard.knowledge.documents import Documents
from steelyard.knowledge.retrieval import Retriever
from steelyard.tasks.desk import Desk
from steelyard.tasks.library import Library
from steelyard.web.console.alerts_room import AlertsRoom
from steelyard.web.console.apps_room import AppServices, AppsRoom, PluginsRoom
from steelyard.web.console.assets import Assets
from steelyard.web.console.batches_room import BatchesRoom
from steelyard.web.console.callers import Callers
from steelyard.web.console.documents_room import DocumentsRoom
from steelyard.web.console.entrance import Entrance
from steelyard.web.console.health_room import HealthRoom, ListProcesses
from steelyard.web.console.hub_room import HubRoom
from steelyard.web.console.keys_room import KeysRoom
from steelyard.web.console.knowledge_room import KnowledgeRoom
from steelyard.web.console.measures import Measures, Monitor
from steelyard.web.console.members_room import MembersRoom
from steelyard.web.console.models_room import ModelsRoom
from steelyard.web.console.overview_room import OverviewRoom
from steelyard.web.console.pages import Pages
from steelyard.web.console.parts_room import PartsRoom
from steelyard.web.console.playground import Playground
from steelyard.web.console.promql_room import PromqlRoom
from steelyard.web.console.providers_room import ProvidersRoom
from steelyard.web.console.quotas_room import QuotasRoom
from steelyard.web.console.reception import Act, Reception, Room
from steelyard.web.console.replay_room import ReplayRoom
from steelyard.web.console.requests_room import RequestsRoom
from steelyard.web.console.sign_on import SignOn
from steelyard.web.console.tasks_room import TasksRoom
from steelyard.web.console.usage_room import UsageRoom
from steelyard.web.console.visit import FormTokens, Visit
from steelyard.web.console.workspaces_room import WorkspacesRoom


@dataclass(frozen=True, slots=True)
class ConsoleRules:
    """What an operator decides of the console."""

    registration: Literal["closed", "open"]
    register_as: str
    #: Of the identity provider, where there is one: what its button says, and what newcomers from there become.
    sign_on: str
    sign_on_as: Literal["viewer", "developer"]
    is_development: bool
    free_tokens: int
    #: The origin of links and of the lines that are pasted.
    public_url: str
    #: The settings as they are shown, secrets masked.
    settings: dict[str, Any]
    data_dir: Path
    #: Titles of the APIs' documents, by name.
    read_documents: Callable[[], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Links:
    """Whom pages ask outside their own process."""

    monitor: Monitor
    #: The embedded models; see `control.hub.meaning`.
    embed: Embed
    list_processes: ListProcesses
    identity_provider: IdentityProvider | None = None


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
        links: Links,
        master_key: bytes,
        rules: ConsoleRules,
    ) -> None:
        self._assets = Assets()
        tokens = FormTokens(derive(master_key, "console-forms"))
        pages = Pages(self._assets, tokens)
        signer, url = Signer(master_key), rules.public_url
        callers, measures = Callers(records, signer), Measures(links.monitor)
        self._reception = Reception(records, members, pages, tokens)
        rooms: list[Room] = [
            Entrance(
                members,
                Tickets(master_key),
                pages,
                registration=rules.registration,
                register_as=rules.register_as,
                is_secure=url.startswith("https://"),
                sign_on=rules.sign_on if links.identity_provider else "",
            ),
            OverviewRoom(records, models, pages, rules.free_tokens, url),
            HubRoom(models, MeaningSearch(links.embed), callers, measures, pages, url),
            ReplayRoom(records, Sealer(master_key), models, callers, pages),
            ModelsRoom(models, pages),
            Playground(models, callers, pages, url),
            RequestsRoom(records, models, pages, rules.settings),
            UsageRoom(records, pages),
            TasksRoom(desk, library, pages),
            KnowledgeRoom(knowledge.bases, knowledge.documents, knowledge.retriever, callers, pages),
            AppsRoom(apps, models, callers, pages, url),
            PluginsRoom(apps, pages),
            BatchesRoom(desk, library, callers, pages),
            PromqlRoom(callers, pages),
            AlertsRoom(links.monitor, pages),
            ProvidersRoom(models, pages),
            KeysRoom(records, models, pages, signer, url),
            WorkspacesRoom(records, pages),
            QuotasRoom(records, members, pages),
            DocumentsRoom(rules.read_documents, pages, url),
            HealthRoom(links.monitor, links.list_processes, pages, rules.settings, rules.data_dir),
            MembersRoom(records, members, pages, url),
        ]
        if links.identity_provider is not None:
            rooms.append(
                SignOn(
                    links.identity_provider,
                    members,
                    derive(master_key, "console-oidc"),
                    role=rules.sign_on_as,
                    is_secure=url.startswith("https://"),
                )
            )
        if rules.is_development:
            rooms.append(PartsRoom(pages))
        nowhere = tuple(Act("GET", f"{prefix}/{{rest:path}}", _show_nothing) for prefix in ("/console", "/hub"))
        self.acts: tuple[Act, ...] = (*(act for room in rooms for act in room.acts), *nowhere)

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


async def _show_nothing(_: Visit) -> Response:
    """A page that there is not."""
    raise fault("path_not_found")


async def _to_hub(_: Request) -> Response:
    return RedirectResponse("/hub/", status_code=302)
