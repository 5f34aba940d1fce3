"""The journal on a disk that is full: nothing is half kept, and service returns with the space."""

import os
from pathlib import Path

import pytest

from steelyard.base.errors import Fault
from steelyard.canon.receipt import Receipt
from steelyard.gateway import journal as module
from steelyard.gateway.journal import Journal


def receipt(number: int) -> Receipt:
    return Receipt(
        request_id=f"r{number}", workspace="w", key_id="k", operation="chat", model="m", target="t", is_stream=False, status=200,
        started_us=1, duration_us=1, hold_tokens=1, hold_micros=0, price_version="v", currency="CNY", cost_micros=0,
    )  # fmt: skip


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails is refused, calls behind it too, until a probe succeeds."""
    monkeypatch.setattr(module, "RETRY_S", 0.0)
    journal = Journal(tmp_path, "boot")
    good = journal._descriptor
    journal.record(receipt(1))
    journal._descriptor = os.open("/dev/full", os.O_WRONLY)
    for _ in range(2):
        with pytest.raises(Fault) as caught:
            journal.record(receipt(2))
        assert caught.value.slug == "stores_unavailable"
        with pytest.raises(Fault):
            journal.check()
    os.close(journal._descriptor)
    journal._descriptor = good
    journal.check()
    journal.record(receipt(3))
    (path,) = tmp_path.glob("*.jsonl")
    assert [line[15:17] for line in path.read_bytes().splitlines() if line.strip()] == [b"r1", b"r3"]
    journal.close()


def test_torn_write_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that takes a part of a line: the part is cut off again."""
    journal = Journal(tmp_path, "boot")
    journal.record(receipt(1))
    whole = next(tmp_path.glob("*.jsonl")).stat().st_size
    real = os.write
    monkeypatch.setattr(module.os, "write", lambda descriptor, data: real(descriptor, data[:20]))
    with pytest.raises(Fault):
        journal.record(receipt(2))
    assert next(tmp_path.glob("*.jsonl")).stat().st_size == whole
    journal.close()


def test_segments_turn_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full segment is left for the syncing thread, which closes it; no unlocked segment ever has its name."""
    monkeypatch.setattr(module, "SEGMENT_BYTES", 500)
    journal = Journal(tmp_path, "boot")
    for number in range(6):
        journal.record(receipt(number))
    full, journal._full = journal._full, []
    assert full
    module._sync(journal._descriptor, full)
    for descriptor in full:
        with pytest.raises(OSError):
            os.fstat(descriptor)
    lines = b"".join(path.read_bytes() for path in sorted(tmp_path.glob("*.jsonl"))).splitlines()
    assert len(lines) == 6
    assert list(tmp_path.glob("*.new")) == []
    journal.close()


def test_what_is_enlisted_is_written_together(tmp_path: Path) -> None:
    """Nothing before it is asked for, then all of it, in order, behind what was recorded meanwhile."""
    journal = Journal(tmp_path, "boot")
    journal.enlist(receipt(1))
    journal.enlist(receipt(2))
    journal.record(receipt(3))
    (path,) = tmp_path.glob("*.jsonl")
    assert journal.keep_enlisted()
    assert [line[15:17] for line in path.read_bytes().splitlines()] == [b"r3", b"r1", b"r2"]
    journal.enlist(receipt(4))
    journal.close()
    assert path.read_bytes().splitlines()[-1][15:17] == b"r4"


def test_a_full_disk_is_told_of_what_was_enlisted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks next learns that records were lost, whoever tried to write them; then it starts clean."""
    journal = Journal(tmp_path, "boot")
    good = journal._descriptor
    journal._descriptor = os.open("/dev/full", os.O_WRONLY)
    journal.enlist(receipt(1))
    journal._write_enlisted()
    assert not journal.keep_enlisted()
    with pytest.raises(Fault):
        journal.check()
    os.close(journal._descriptor)
    journal._descriptor = good
    monkeypatch.setattr(journal, "_retry_at", 0.0)
    journal.check()
    journal.enlist(receipt(2))
    assert journal.keep_enlisted()
    (path,) = tmp_path.glob("*.jsonl")
    assert [line[15:17] for line in path.read_bytes().splitlines() if line.strip()] == [b"r2"]
    journal.close()


def test_a_record_is_kept_though_no_new_segment_can_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written is not refused; the next record tries for a new segment again."""
    monkeypatch.setattr(module, "SEGMENT_BYTES", 100)
    journal = Journal(tmp_path, "boot")
    real = os.open

    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "open", full)
    journal.record(receipt(1))
    journal.check()
    monkeypatch.setattr(module.os, "open", real)
    journal.record(receipt(2))
    journal.record(receipt(3))
    lines = b"".join(path.read_bytes() for path in sorted(tmp_path.glob("*.jsonl"))).splitlines()
    assert [line[15:17] for line in lines] == [b"r1", b"r2", b"r3"]
    assert len(list(tmp_path.glob("*.jsonl"))) > 1
    journal.close()
