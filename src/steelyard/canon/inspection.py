"""What a workspace wants looked for in texts, on the way in and on the way out."""

import msgspec

INPUT, OUTPUT = "input", "output"


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

    @property
    def is_empty(self) -> bool:
        """Whether nothing is looked for."""
        return not (self.words or self.patterns or self.mask)


NO_INSPECTION = InspectionPolicy()
