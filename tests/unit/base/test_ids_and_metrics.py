"""Identifiers, secrets, metrics and the JSON door."""

import contextlib
import re
import time
import uuid
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.base import ids, metrics, secrets
from steelyard.base.errors import Fault, SetupFault
from steelyard.base.jsondoor import decode_object


def test_credentials_carry_a_checksum() -> None:
    """A fresh one is well formed; one changed character breaks it."""
    for prefix in (ids.KEY_PREFIX, ids.ADMIN_PREFIX):
        credential = ids.new_credential(prefix)
        assert ids.is_well_formed(credential)
        for place in (len(prefix) + 3, len(credential) - 1):
            other = "a" if credential[place] != "a" else "b"
            assert not ids.is_well_formed(credential[:place] + other + credential[place + 1 :])


def test_masks_show_too_little_to_use() -> None:
    """Eight characters of forty-two."""
    credential = ids.new_credential(ids.ADMIN_PREFIX)
    assert re.fullmatch(r"sk-admin-\w{4}…\w{4}", ids.mask(credential))


@given(st.text(max_size=200))
def test_scanner_finds_a_key_in_any_text(noise: str) -> None:
    """However it is wrapped, it is found once."""
    credential = ids.new_credential()
    found = ids.find_credentials(f"{noise}\n({credential})\n{noise}")
    assert [one.credential for one in found] == [credential]


def test_request_ids_are_uuids() -> None:
    """Version 7, all different, and in the order of time."""
    made = [ids.new_request_id() for _ in range(1000)]
    assert len(set(made)) == 1000
    assert {uuid.UUID(one).version for one in made} == {7}
    time.sleep(0.002)
    assert ids.new_request_id() > max(made)


def test_master_key_is_made_once_and_guarded(tmp_path: Path) -> None:
    """0600, the same on the next read, refused when damaged; derived keys differ by purpose."""
    path = tmp_path / "secret.key"
    key = secrets.load_master_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert secrets.load_master_key(path) == key
    assert secrets.derive(key, "a") != secrets.derive(key, "b")
    path.write_text("short")
    with pytest.raises(SetupFault, match="master key"):
        secrets.load_master_key(path)


def test_metrics_merge_over_processes() -> None:
    """Counters, gauges and histograms add up; a dead process keeps its counts, not its gauges."""
    readings = []
    for amount in (1, 2):
        registry = metrics.Registry()
        registry.counter("c", "Help.", ("a",)).add(('x"\n\\',), amount)
        registry.gauge("g", "Help.").add((), amount)
        registry.histogram("h", "Help.", (), (0.1, 1.0)).observe((), amount / 4)
        readings.append(msgspec.json.decode(msgspec.json.encode(registry.read())))
    text = metrics.render(metrics.merge(readings))
    assert 'c{a="x\\"\\n\\\\"} 3' in text
    assert "g 3" in text
    assert 'h_bucket{le="0.1"} 0\nh_bucket{le="1"} 2\nh_bucket{le="+Inf"} 2\nh_sum 0.75\nh_count 2' in text
    assert "g" not in metrics.without_gauges(readings[0])
    with pytest.raises(ValueError, match="exists"):
        registry.counter("c", "", ())


@pytest.mark.parametrize(
    "body", [b"", b"  ", b"[]", b"1", b'"x"', b"{", b'{"a":}', b"\xff", b'{"a": "\xff"}', b"{}{}", b'{"a":1,}']
)
def test_json_door_refuses_what_is_no_object(body: bytes) -> None:
    """Every refusal is `body_invalid` with a reason."""
    with pytest.raises(Fault) as caught:
        decode_object(body)
    assert caught.value.slug == "body_invalid"


def test_json_door_bounds_depth_and_elements() -> None:
    """Small bodies cannot become large heaps."""
    for body in (b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", b'{"a":[' + b"0," * 500_000 + b"0]}"):
        with pytest.raises(Fault) as caught:
            decode_object(body)
        assert caught.value.slug == "body_too_complex"


@given(st.binary(max_size=300))
def test_json_door_never_raises_anything_else(body: bytes) -> None:
    """Whatever comes in, a dict or a fault comes out."""
    with contextlib.suppress(Fault):
        assert isinstance(decode_object(body), dict)
