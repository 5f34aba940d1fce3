"""What a workspace wants looked for in texts, on the way in and on the way out."""

import msgspec

INPUT, OUTPUT = "input", "output"


class CheckPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An endpoint that is asked about texts, on the OpenAI moderations wire: `{"input": …}` -> `{"results": [{"flagged": …}]}`."""

    #: The whole address; an operator's may be private.
    url: str
    model: str = ""
    #: `env:NAME` or `file:PATH`; gateways are told the key itself.
    api_key: str = ""
    timeout_s: float = 5.0
    #: What happens to texts that nobody could be asked about.
    passes_unchecked: bool = False


class InspectionPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Empty lists look for nothing."""

    #: Words that refuse a call, in any case.
    words: tuple[str, ...] = ()
    #: Regular expressions (RE2) that refuse a call.
    patterns: tuple[str, ...] = ()
    #: Kinds of numbers that are masked: "phone", "id_card", "bank_card", "key".
    mask: tuple[str, ...] = ()
    stages: tuple[str, ...] = (INPUT, OUTPUT)
    #: Whether a caller may switch it off with X-DashScope-DataInspection.
    may_disable: bool = False
    check: CheckPolicy | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is looked for."""
        return not (self.words or self.patterns or self.mask or self.check)


NO_INSPECTION = InspectionPolicy()
