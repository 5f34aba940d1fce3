"""The shape of a catalogue row."""

import re
from dataclasses import dataclass

_PLACE = re.compile(r"\{\w+\}")
IRE = "invalid_request_error"
IPE = "invalid_parameter_error"


@dataclass(frozen=True, slots=True)
class Row:
    """One error condition as every dialect shows it and as a person can cure it."""

    slug: str
    status: int
    openai_type: str
    openai_code: str | None
    native_code: str
    #: English text on the wire; `{name}` places are filled by the raiser.
    message: str
    cause: tuple[str, str]
    """(English, Chinese)."""
    cure: tuple[str, str]
    """(English, Chinese)."""
    anthropic_type: str = IRE
    #: "caller", "upstream" or "us".
    blame: str = "caller"
    is_retryable: bool = False
    #: seconds; None sends no Retry-After.
    retry_after_s: int | None = None
    #: other texts and codes, ours and vendors', that mean the same.
    aliases: tuple[str, ...] = ()

    @property
    def shown_message(self) -> str:
        """The text for people who look it up: its places as an ellipsis, the one for details left out."""
        return _PLACE.sub("…", self.message.replace("{detail}", "")).strip()

    @property
    def log_level(self) -> str:
        """`info` for the caller's faults, `warning` for an upstream's, `error` for ours."""
        return {"caller": "info", "upstream": "warning", "us": "error"}[self.blame]


def bad_parameter(
    slug: str,
    message: str,
    cause: tuple[str, str],
    cure: tuple[str, str],
    *,
    code: str | None = IPE,
    native_code: str = "InvalidParameter",
    aliases: tuple[str, ...] = (),
) -> Row:
    """A row for the commonest kind: status 400, the caller sent a wrong value."""
    return Row(slug, 400, IRE, code, native_code, message, cause, cure, aliases=aliases)
