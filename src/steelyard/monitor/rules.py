"""Rule files in Prometheus' format, read with all their faults told together. Values in, values out. Source: prometheus.md 3."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from steelyard.monitor.template_functions import TemplateError
from steelyard.monitor.templates import read_template
from steelyard.promql.errors import QueryError
from steelyard.promql.labels import NAME
from steelyard.promql.nodes import Node, Range, Subquery, Text, unwrap
from steelyard.promql.numbers import read_duration
from steelyard.promql.parse import parse

MAX_FILE_BYTES = 4 * 1024 * 1024
DEFAULT_INTERVAL_MS = 60_000
ALERT_NAME = "alertname"
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rule:
    """A recording rule (`record`) or an alerting rule (`alert`). Durations in milliseconds."""

    record: str
    alert: str
    expr: str
    node: Node
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    for_ms: int = 0
    keep_firing_ms: int = 0

    @property
    def name(self) -> str:
        """What it is called."""
        return self.record or self.alert


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated in order at one time."""

    file: str
    name: str
    rules: tuple[Rule, ...]
    interval_ms: int = DEFAULT_INTERVAL_MS
    limit: int = 0
    offset_ms: int = 0
    #: Whose series the rules see and make; empty: the admins'.
    workspace: str = ""


@dataclass(slots=True)
class Found:
    """What files say, and what is wrong with them."""

    groups: list[Group] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def read_files(paths: list[Path], *, workspace: str = "", interval_ms: int = DEFAULT_INTERVAL_MS) -> Found:
    """The groups of files, and every fault in them."""
    found = Found()
    for path in paths:
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                found.faults.append(f"{path}: a rule file may have {MAX_FILE_BYTES} bytes")
                continue
            text = path.read_text(encoding="utf-8")
        except OSError as exc:
            found.faults.append(f"{path}: it cannot be read: {exc.strerror}")
            continue
        except UnicodeDecodeError:
            found.faults.append(f"{path}: it is no UTF-8")
            continue
        one = read_text(text, str(path), workspace=workspace, interval_ms=interval_ms)
        found.groups += one.groups
        found.faults += one.faults
    return found


def read_text(text: str, file: str, *, workspace: str = "", interval_ms: int = DEFAULT_INTERVAL_MS) -> Found:
    """The groups of one file's text, and every fault in it."""
    reader = _Reader(file, workspace, interval_ms)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        return Found([], [f"{file}{line}: no YAML: {getattr(exc, 'problem', None) or exc}"])
    except (RecursionError, ValueError):
        return Found([], [f"{file}: no YAML that can be read"])
    if root is not None:
        reader.read(root)
    return Found(reader.groups, reader.faults)


def read_duration_ms(text: str) -> int | None:
    """`1h30m` in milliseconds; None where it is none."""
    return 0 if text == "0" else read_duration(text)


class _Reader:
    """One file on its way."""

    def __init__(self, file: str, workspace: str, interval_ms: int) -> None:
        self._file = file
        self._workspace = workspace
        self._interval_ms = interval_ms
        self.groups: list[Group] = []
        self.faults: list[str] = []

    def _fault(self, node: yaml.Node, text: str) -> None:
        self.faults.append(f"{self._file}:{node.start_mark.line + 1}: {text}")

    def read(self, root: yaml.Node) -> None:
        fields = self._mapping(root, "the file", ("groups",))
        names: set[str] = set()
        for node in self._sequence(fields.get("groups"), "groups"):
            group = self._group(node)
            if group is None:
                continue
            if group.name in names:
                self._fault(node, f"group {group.name!r} is there twice")
            names.add(group.name)
            self.groups.append(group)

    def _mapping(self, node: yaml.Node, what: str, known: tuple[str, ...] | None = None) -> dict[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            self._fault(node, f"{what} must be a mapping")
            return {}
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = str(key.value)
            if known is not None and name not in known:
                self._fault(key, f"{what}: the field {name!r} is unknown (known: {', '.join(known)})")
            elif name in found:
                self._fault(key, f"{what}: {name!r} is there twice")
            found[name] = value
        return found

    def _sequence(self, node: yaml.Node | None, what: str) -> Iterator[yaml.Node]:
        if node is None or (isinstance(node, yaml.ScalarNode) and not node.value):
            return
        if not isinstance(node, yaml.SequenceNode):
            self._fault(node, f"{what} must be a list")
            return
        yield from node.value

    def _text(self, fields: dict[str, yaml.Node], name: str, what: str) -> str:
        node = fields.get(name)
        if node is None:
            return ""
        if not isinstance(node, yaml.ScalarNode):
            self._fault(node, f"{what}: {name} must be a text")
            return ""
        return str(node.value)

    def _duration(self, fields: dict[str, yaml.Node], name: str, what: str, default: int = 0) -> int:
        text = self._text(fields, name, what)
        if not text:
            return default
        found = read_duration_ms(text)
        if found is None:
            self._fault(fields[name], f"{what}: {name}: {text[:40]!r} is no duration such as 5m or 1h30m")
        return found or 0

    def _pairs(self, node: yaml.Node | None, what: str, *, are_labels: bool) -> tuple[tuple[str, str], ...]:
        if node is None:
            return ()
        pairs = []
        for name, value in self._mapping(node, what).items():
            if not isinstance(value, yaml.ScalarNode):
                self._fault(value, f"{what}: {name} must be a text")
                continue
            if not _LABEL.fullmatch(name) or (are_labels and name == NAME):
                self._fault(
                    value, f"{what}: {name[:40]!r} is no name of {'a label' if are_labels else 'an annotation'}"
                )
            self._check_template(value, f"{what}: {name}")
            pairs.append((name, str(value.value)))
        return tuple(pairs)

    def _check_template(self, node: yaml.ScalarNode, what: str) -> None:
        try:
            read_template(str(node.value))
        except TemplateError as exc:
            self._fault(node, f"{what}: template: {exc}")

    def _group(self, node: yaml.Node) -> Group | None:
        known = ("name", "interval", "limit", "query_offset", "labels", "rules")
        fields = self._mapping(node, "a group", known)
        if not fields:
            return None
        name = self._text(fields, "name", "a group")
        what = f"group {name!r}"
        if not name:
            self._fault(node, "a group has no name")
        limit = self._text(fields, "limit", what)
        if limit and not limit.isdecimal():
            self._fault(fields["limit"], f"{what}: limit must be a number")
        interval_ms = self._duration(fields, "interval", what, self._interval_ms)
        if interval_ms < 1000:
            self._fault(fields.get("interval", node), f"{what}: interval must be at least 1s")
        shared = self._pairs(fields.get("labels"), f"{what}: labels", are_labels=True)
        rules = []
        for number, one in enumerate(self._sequence(fields.get("rules"), f"{what}: rules"), start=1):
            rule = self._rule(one, f"{what}, rule {number}", shared)
            if rule is not None:
                rules.append(rule)
        self._check_twice(node, what, rules)
        offset_ms = self._duration(fields, "query_offset", what)
        count = int(limit) if limit.isdecimal() else 0
        return Group(self._file, name, tuple(rules), interval_ms, count, offset_ms, self._workspace)

    def _check_twice(self, node: yaml.Node, what: str, rules: list[Rule]) -> None:
        seen: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
        for rule in rules:
            key = (rule.record, tuple(sorted(rule.labels)))
            if rule.record and key in seen:
                self._fault(node, f"{what}: {rule.record!r} is recorded twice with the same labels")
            seen.add(key)

    def _rule(self, node: yaml.Node, what: str, shared: tuple[tuple[str, str], ...]) -> Rule | None:
        known = ("record", "alert", "expr", "for", "keep_firing_for", "labels", "annotations")
        before = len(self.faults)
        fields = self._mapping(node, what, known)
        record, alert = self._text(fields, "record", what), self._text(fields, "alert", what)
        if record or alert:
            what = f"{what} ({record or alert})"
        if bool(record) == bool(alert):
            self._fault(node, f"{what}: it needs either 'record' or 'alert'")
        if record:
            self._check_recording(fields, record, what)
        labels = self._pairs(fields.get("labels"), f"{what}: labels", are_labels=True)
        annotations = self._pairs(fields.get("annotations"), f"{what}: annotations", are_labels=False)
        expr, tree = self._expression(fields, node, what)
        for_ms, keep_ms = self._duration(fields, "for", what), self._duration(fields, "keep_firing_for", what)
        if tree is None or len(self.faults) > before:
            return None
        own = dict(shared) | dict(labels)
        return Rule(record, alert, expr, tree, tuple(own.items()), annotations, for_ms, keep_ms)

    def _check_recording(self, fields: dict[str, yaml.Node], record: str, what: str) -> None:
        if not _METRIC.fullmatch(record):
            self._fault(fields["record"], f"{what}: {record[:60]!r} is no name of a metric")
        for name in ("for", "keep_firing_for", "annotations"):
            if name in fields:
                self._fault(fields[name], f"{what}: {name!r} belongs to alerting rules")

    def _expression(self, fields: dict[str, yaml.Node], node: yaml.Node, what: str) -> tuple[str, Node | None]:
        text = self._text(fields, "expr", what)
        if not text.strip():
            self._fault(node, f"{what}: 'expr' is missing")
            return "", None
        try:
            tree = parse(text)
        except QueryError as exc:
            self._fault(fields["expr"], f"{what}: expr: {exc}")
            return text, None
        if isinstance(unwrap(tree), Text | Range | Subquery):
            self._fault(fields["expr"], f"{what}: expr must be an instant vector or a scalar")
            return text, None
        return text.strip(), tree
