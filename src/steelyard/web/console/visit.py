"""One request of a person: who it is, in which language and workspace, and the token that their forms carry."""

import hmac
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.requests import Request

from steelyard.base.errors import fault
from steelyard.base.secrets import digest, same
from steelyard.canon.members import Member
from steelyard.web.console.texts import Texts, pick_language, texts_in

COOKIE = "steelyard_session"
WORKSPACE_COOKIE = "steelyard_workspace"
LANGUAGE_COOKIE = "steelyard_language"
MAX_FIELDS = 200


class Form:
    """The fields of a form as they were sent."""

    def __init__(self, fields: dict[str, list[str]]) -> None:
        self._fields = fields

    def get(self, name: str, default: str = "") -> str:
        """A field's text, trimmed."""
        return self._fields.get(name, [default])[-1].strip()

    def get_raw(self, name: str) -> str:
        """A field as it is: a password may begin with a blank."""
        return self._fields.get(name, [""])[-1]

    def get_all(self, name: str) -> tuple[str, ...]:
        """Every text of a field that may be there more than once, empty ones left out."""
        return tuple(text.strip() for text in self._fields.get(name, ()) if text.strip())

    def get_list(self, name: str) -> tuple[str, ...]:
        """A field's parts between commas or line ends."""
        return tuple(part.strip() for part in self.get(name).replace("\n", ",").split(",") if part.strip())

    def get_int(self, name: str) -> int | None:
        """A whole number; None where the field is empty.

        Raises:
            Fault: it is no number.
        """
        text = self.get(name).replace(",", "").replace("_", "")
        if not text:
            return None
        try:
            return int(text)
        except ValueError:
            raise fault("parameter_invalid", detail=f"{name} must be a whole number.", param=name) from None

    def has(self, name: str) -> bool:
        """Whether a box is ticked."""
        return bool(self._fields.get(name))


@dataclass(frozen=True)
class Visit:
    """What a page is made for."""

    request: Request
    secret: str
    member: Member | None
    t: Texts
    #: The workspaces that the member sees; the records of `control.workspaces`.
    spaces: tuple[Any, ...] = ()
    #: The name of the one that is looked at.
    workspace: str = "default"
    form: Form = field(default_factory=lambda: Form({}))

    @property
    def who(self) -> Member:
        """The member; only where somebody is signed in."""
        assert self.member is not None
        return self.member

    @property
    def space(self) -> Any:
        """The record of the workspace that is looked at."""
        return next(one for one in self.spaces if one.name == self.workspace)

    @property
    def is_fragment(self) -> bool:
        """Whether a script of the page asks for a part of it."""
        return self.request.headers.get("hx-request") == "true"

    @property
    def page_no(self) -> int:
        """Which page of a list is asked for; the first where that is no number."""
        text = self.query.get("page", "1")
        return max(int(text), 1) if text.isascii() and text.isdigit() and len(text) < 7 else 1

    @property
    def query(self) -> Any:
        """The address's parameters."""
        return self.request.query_params


def read_form(body: bytes) -> Form:
    """A form's body.

    Raises:
        Fault: it has too many fields.
    """
    try:
        check_text(text := body.decode())
        return Form(parse_qs(text, keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except (ValueError, UnicodeDecodeError):
        raise fault("body_invalid", detail=" (The form cannot be read.)") from None


def check_text(encoded: str) -> None:
    """Raises `body_invalid` for a NUL in a form, a path or a query: no name has one, and PostgreSQL keeps none."""
    if "%00" in encoded or "\0" in encoded:
        raise fault("body_invalid", detail=" (It holds a NUL character.)")


def language_of(request: Request, member: Member | None) -> Texts:
    """The words for a visitor: as they chose, else as their browser asks."""
    wished = (member.language if member else "") or request.cookies.get(LANGUAGE_COOKIE, "")
    return texts_in(pick_language(wished, request.headers.get("accept-language", "")))


class FormTokens:
    """Tokens that say a form comes from our own page, each different, so that compressing a page gives none away."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def issue(self, secret: str) -> str:
        """A token for a session's forms."""
        salt = secrets.token_hex(8)
        return f"{salt}.{self._mac(salt, secret)}"

    def check(self, token: str, secret: str) -> None:
        """Raises `form_foreign` where the token is not of this session."""
        salt, _, mac = token.partition(".")
        if not mac.isascii() or not same(mac, self._mac(salt, secret)):
            raise fault("form_foreign")

    def _mac(self, salt: str, secret: str) -> str:
        return hmac.new(self._key, f"{salt}:{digest(secret)}".encode(), "sha256").hexdigest()[:40]


def check_origin(request: Request) -> None:
    """Raises `form_foreign` where a browser says that another site's page sent this."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site not in ("same-origin", "none"):
            raise fault("form_foreign")
        return
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise fault("form_foreign")


def local_path(path: str, default: str) -> str:
    """A path of ours to go on to; whatever leads elsewhere becomes the default."""
    is_ours = path.startswith(("/console/", "/hub/")) and not set(path) & set("\\\r\n\t\0") and "//" not in path
    return path if is_ours else default
