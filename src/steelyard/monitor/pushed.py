"""Groups of samples that scripts push, as to a Pushgateway: kept until they are pushed anew or deleted, and sampled with every scrape."""

import logging
import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from steelyard.base.clock import now_us
from steelyard.monitor.exposition_format import Exposed, Metadata
from steelyard.monitor.files import open_file
from steelyard.monitor.series_store import SeriesStore, TooManySeries
from steelyard.monitor.tenants import MAX_SERIES, Refused, check_series, own_labels
from steelyard.promql.labels import NAME, Labels, get, make_labels

log = logging.getLogger("steelyard.monitor")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS pushed (
    workspace TEXT NOT NULL, grouping TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (workspace, grouping)
);
"""
PUSH_TIME = "push_time_seconds"
#: What a group is called by, and its labels.
Grouping = Labels


class Group(msgspec.Struct):
    """What was pushed last. Labels are as they are stored; the families' types stand beside them."""

    labels: list[tuple[tuple[str, str], ...]]
    values: list[float]
    kinds: dict[str, tuple[str, str]]
    pushed_us: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Group).decode
_encode_grouping = msgspec.json.Encoder().encode
_decode_grouping = msgspec.json.Decoder(tuple[tuple[str, str], ...]).decode


class Pushed:
    """All groups of all workspaces. What was accepted survives the process."""

    def __init__(self, directory: Path, store: SeriesStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._file = open_file(directory / "pushed.db", _SCHEMA, "the file of what scripts pushed")
        self._groups: dict[str, dict[Grouping, Group]] = {}
        for workspace, grouping, data in self._file.execute("SELECT workspace, grouping, data FROM pushed"):
            self._groups.setdefault(workspace, {})[_decode_grouping(grouping)] = _decode(data)

    def __repr__(self) -> str:
        return f"<Pushed {sum(len(one) for one in self._groups.values())} groups>"

    def push(self, workspace: str, grouping: Mapping[str, str], exposed: Exposed, *, replaces_all: bool) -> None:
        """Takes a push: in place of the whole group, or of its metrics of the same names.

        Raises:
            Refused: naming what is wrong; nothing was taken.
            OSError: the disk takes no more; nothing was taken.
        """
        if any(at_ms is not None for at_ms in exposed.times_ms):
            raise Refused("pushed metrics must not have timestamps")
        key = make_labels(grouping)
        rows: dict[Labels, float] = {}
        for labels, value in zip(exposed.labels, exposed.values, strict=True):
            finished = own_labels(workspace, {**dict(labels), **grouping})
            check_series(finished)
            if finished in rows:
                raise Refused(f"the metric {get(labels, NAME)!r} is there twice with the same labels")
            rows[finished] = value
        kinds = {name: (one.kind, one.help) for name, one in exposed.families.items()}
        with self._lock:
            groups = self._groups.setdefault(workspace, {})
            before = groups.get(key)
            if before is not None and not replaces_all:
                names = {get(labels, NAME) for labels in rows}
                kept = zip(before.labels, before.values, strict=True)
                rows = {one: value for one, value in kept if get(one, NAME) not in names} | rows
                kinds = before.kinds | kinds
            count = len(rows) + sum(len(one.labels) for name, one in groups.items() if name != key)
            if count > MAX_SERIES:
                raise Refused(f"the workspace would have {count} pushed series; {MAX_SERIES} are allowed")
            group = Group(list(rows), list(rows.values()), kinds, now_us())
            self._write(
                "INSERT OR REPLACE INTO pushed (workspace, grouping, data) VALUES (?, ?, ?)",
                (workspace, _encode_grouping(key).decode(), _encode(group)),
            )
            groups[key] = group
            self._sample(workspace)

    def delete(self, workspace: str, grouping: Mapping[str, str]) -> None:
        """Forgets a group; one that is not there is forgotten already."""
        key = make_labels(grouping)
        with self._lock:
            told = _encode_grouping(key).decode()
            self._write("DELETE FROM pushed WHERE workspace = ? AND grouping = ?", (workspace, told))
            if self._groups.get(workspace, {}).pop(key, None) is not None:
                self._sample(workspace)

    def _write(self, statement: str, values: tuple[str | bytes, ...]) -> None:
        try:
            self._file.execute(statement, values)
        except sqlite3.Error as exc:
            raise OSError(f"pushed samples cannot be stored: {exc}") from exc

    def sample(self) -> None:
        """Every group's values once more, at this time."""
        with self._lock:
            for workspace in list(self._groups):
                self._sample(workspace)

    def _sample(self, workspace: str) -> None:
        rows: dict[Labels, float] = {}
        for grouping, group in self._groups[workspace].items():
            for labels, value in zip(group.labels, group.values, strict=True):
                rows.setdefault(tuple(labels), value)
            own = own_labels(workspace, {**dict(grouping), NAME: PUSH_TIME})
            rows[own] = group.pushed_us / 1e6
        source, at_ms = f"pushed:{workspace}", now_us() // 1000
        newest = self._store.newest_ms(source)
        if newest is not None and at_ms <= newest:
            at_ms = newest + 1
        try:
            self._store.append(source, tuple(rows), at_ms, np.array(list(rows.values()), dtype=np.float64))
        except (TooManySeries, OSError) as exc:
            # the group is kept all the same, and its next sample may find room
            log.warning("what workspace %s pushed was not sampled: %s", workspace, exc)

    def families(self, workspace: str | None) -> dict[str, Metadata]:
        """What a workspace said of its families; what all said for None."""
        with self._lock:
            some = self._groups.values() if workspace is None else [self._groups.get(workspace, {})]
            groups = [group for one in some for group in one.values()]
        return {name: Metadata(kind, told) for group in groups for name, (kind, told) in group.kinds.items()}

    def close(self) -> None:
        """Lets go of the file."""
        self._file.close()
