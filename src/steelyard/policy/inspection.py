"""Content inspection: words and patterns that refuse a call, and numbers that are masked. Texts in, texts out.

Words and patterns are matched by RE2, whose time is linear in the text whatever the pattern. Numbers are masked only where
their checksums hold, so that an order number is not taken for a bank card.
"""

import re
from collections.abc import Callable, Iterable

import re2

from steelyard.base.errors import Fault, fault
from steelyard.canon.inspection import CheckPolicy, InspectionPolicy

MAX_WORDS = 50_000
MAX_WORD_CHARS = 200
MAX_PATTERNS = 200
MAX_PATTERN_CHARS = 1000
#: Patterns see this much of a streamed text at once.
PATTERN_WINDOW = 256
#: The longest number that is masked, separators included.
NUMBER_WINDOW = 64
MASK = "*"
#: A caller waits this long for somebody else's word at most.
MAX_CHECK_S = 30.0
_MATCHER_BYTES = 64 << 20
_ANCHORS = ("^", "$", "\\A", "\\z", "\\Z")


def _luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _is_id_card(text: str) -> bool:
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(int(digit) * weight for digit, weight in zip(text[:17], weights, strict=True))
    month, day = int(text[10:12]), int(text[12:14])
    return "10X98765432"[total % 11] == text[17].upper() and 1 <= month <= 12 and 1 <= day <= 31


def _is_bank_card(text: str) -> bool:
    digits = re.sub(r"[ -]", "", text)
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and _luhn(digits)


#: kind -> pattern, check of what it found
NUMBERS: dict[str, tuple[re.Pattern[str], Callable[[str], bool]]] = {
    "id_card": (re.compile(r"(?<!\d)\d{17}[\dXx](?![\dXx])"), _is_id_card),
    "bank_card": (re.compile(r"(?<![\d-])\d(?:[ -]?\d){12,18}(?![\d-])"), _is_bank_card),
    "phone": (re.compile(r"(?<!\d)(?:\+?86[ -]?)?1[3-9]\d[ -]?\d{4}[ -]?\d{4}(?!\d)"), lambda _: True),
    "key": (re.compile(r"\bs[kt]-[0-9A-Za-z_-]{20,}"), lambda _: True),
}


#: Whatever is masked looks like this: most texts hold nothing of the kind, and are spared the closer look.
_CANDIDATE = r"\d(?:[ -]?\d){9}|s[kt]-[0-9A-Za-z_-]{20}"


class Inspector:
    """One workspace's policy, ready to use."""

    __slots__ = ("_anything", "_is_anchored", "_masks", "_matchers", "may_disable", "policy", "stages", "window")

    def __init__(self, policy: InspectionPolicy) -> None:
        self.policy = policy
        self.stages = frozenset(policy.stages)
        self.may_disable = policy.may_disable
        self._masks = [NUMBERS[kind] for kind in policy.mask]
        rules: list[tuple[str, str]] = []
        if policy.words:
            rules.append(("word", "|".join(re2.escape(word) for word in policy.words)))
        if policy.patterns:
            rules.append(("pattern", "|".join(f"(?:{one})" for one in policy.patterns)))
        self._matchers = [(kind, _compile(rule)) for kind, rule in rules]
        looked_for = [rule for _, rule in rules] + ([_CANDIDATE] if policy.mask else [])
        #: One look that spares most texts every other one.
        self._anything = _compile("|".join(f"(?:{rule})" for rule in looked_for) or "$^")
        #: A pattern that looks for where a text begins or ends cannot be looked for in what is around it.
        self._is_anchored = any(anchor in one for one in policy.patterns for anchor in _ANCHORS)
        longest = max((len(word) for word in policy.words), default=0)
        #: A match may be as long as this: so much of a stream is held back.
        self.window = max(longest, NUMBER_WINDOW if policy.mask else 0, PATTERN_WINDOW if policy.patterns else 0, 1)

    def __repr__(self) -> str:
        return f"<Inspector [{len(self.policy.words)} words, {len(self.policy.patterns)} patterns]>"

    def is_clean(self, raw: bytes) -> bool:
        """Whether one look at a whole JSON body shows that none of its texts can hold anything.

        Without escapes every text stands in the body as it is. False only says that its texts must be looked at.
        """
        return not self._is_anchored and b"\\" not in raw and self._anything.search(raw) is None

    def check(self, text: str, part: str) -> str:
        """The text as it may go on.

        Args:
            part: "Input" or "Output", for the refusal.

        Raises:
            Fault: `data_inspection_failed`; what was found is not told.
        """
        if self._anything.search(text) is None:
            return text
        self._refuse(text, part)
        return _masked(text, self._spans(text))

    def cut(self, text: str, *, is_last: bool) -> tuple[str, str]:
        """What of a streamed text may go on, and what must wait for more.

        Raises:
            Fault: `data_inspection_failed`.
        """
        spans: list[tuple[int, int]] = []
        if self._anything.search(text) is not None:
            self._refuse(text, "Output")
            spans = self._spans(text)
        if is_last:
            return _masked(text, spans), ""
        end = self._safe_end(text, spans)
        return _masked(text[:end], [span for span in spans if span[1] <= end]), text[end:]

    def _safe_end(self, text: str, spans: list[tuple[int, int]]) -> int:
        end = max(len(text) - self.window, 0)
        for start, stop in spans:
            if start < end < stop:
                end = start
        # a number must not be cut in two, or its rest would look like another one
        back = 0
        while 0 < end < len(text) and text[end - 1].isdigit() and text[end].isdigit() and back < NUMBER_WINDOW:
            end, back = end - 1, back + 1
        return end

    def _refuse(self, text: str, part: str) -> None:
        for kind, matcher in self._matchers:
            if matcher.search(text) is not None:
                raise refusal(part, kind)

    def _spans(self, text: str) -> list[tuple[int, int]]:
        spans: list[tuple[int, int]] = []
        for pattern, is_real in self._masks:
            spans += [found.span() for found in pattern.finditer(text) if is_real(found[0])]
        return sorted(spans)


def refusal(part: str, rule: str) -> Fault:
    """The refusal; `rule` goes to metrics and the audit trail, not to the caller."""
    failure = fault("data_inspection_failed", part=part)
    failure.inspection_rule = rule
    return failure


def _masked(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """Each span keeps its first and last characters, so that a person can tell two apart."""
    parts: list[str] = []
    at = 0
    for start, stop in spans:
        if start < at:
            continue
        found = text[start:stop]
        keep = 3 if len(found) > 8 else 1
        parts += (text[at:start], found[:keep], MASK * (len(found) - keep - 2), found[-2:])
        at = stop
    return "".join((*parts, text[at:]))


def _compile(pattern: str) -> re2._Regexp:
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    options.max_mem = _MATCHER_BYTES
    return re2.compile(pattern, options)


def _reason(exc: Exception) -> str:
    """What RE2 says, which it says in bytes."""
    said = exc.args[0] if exc.args else ""
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)


def check_policy(policy: InspectionPolicy) -> None:
    """Every value in its range, every pattern one that compiles.

    Raises:
        Fault: `parameter_invalid`, naming the field.
    """
    for kind in policy.mask:
        if kind not in NUMBERS:
            raise fault(
                "parameter_invalid", detail=f"mask: {kind!r} is unknown; known: {', '.join(NUMBERS)}.", param="mask"
            )
    for stage in policy.stages:
        if stage not in ("input", "output"):
            raise fault("parameter_invalid", detail="stages are input and output.", param="stages")
    if policy.check is not None:
        _check_endpoint(policy.check)
    if len(policy.words) > MAX_WORDS or any(not 1 <= len(word) <= MAX_WORD_CHARS for word in policy.words):
        detail = f"words: at most {MAX_WORDS:,}, each of 1 to {MAX_WORD_CHARS} characters."
        raise fault("parameter_invalid", detail=detail, param="words")
    if len(policy.patterns) > MAX_PATTERNS:
        raise fault("parameter_invalid", detail=f"patterns: at most {MAX_PATTERNS}.", param="patterns")
    for one in policy.patterns:
        try:
            found = _compile(one) if len(one) <= MAX_PATTERN_CHARS else None
        except re2.error as exc:
            raise fault(
                "parameter_invalid", detail=f"patterns: {one!r} does not compile: {_reason(exc)}.", param="patterns"
            ) from None
        if found is None or found.search("") is not None:
            detail = f"patterns: {one[:50]!r} is too long, or matches everything."
            raise fault("parameter_invalid", detail=detail, param="patterns")
    try:
        Inspector(policy)
    except re2.error:
        raise fault("parameter_invalid", detail="These words and patterns are too much for one matcher.") from None


def _check_endpoint(check: CheckPolicy) -> None:
    if not check.url.startswith(("http://", "https://")) or any(character.isspace() for character in check.url):
        raise fault("parameter_invalid", detail="check.url must begin with http:// or https://.", param="check.url")
    if check.api_key and not check.api_key.startswith(("env:", "file:")):
        detail = "check.api_key is a reference: env:NAME or file:PATH."
        raise fault("parameter_invalid", detail=detail, param="check.api_key")
    if not 0 < check.timeout_s <= MAX_CHECK_S:
        detail = f"check.timeout_s lies above 0 and up to {MAX_CHECK_S}."
        raise fault("parameter_invalid", detail=detail, param="check.timeout_s")
