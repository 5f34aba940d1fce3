"""Times and durations as Prometheus reads them."""

import pytest

from steelyard.web.prometheus_forms import read_duration_ms, read_time_ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("0", 0),
        ("1795350629.27", 1795350629270),
        ("-1.5", -1500),
        ("1e3", 1000000),
        ("1.", 1000),
        (".5", 500),
        ("1970-01-01T00:00:01Z", 1000),
        ("1970-01-01T00:00:01.5Z", 1500),
        ("1970-01-01T01:00:00+01:00", 0),
        ("2026-11-25T10:00:00.123456789+08:00", 1795572000123),
        *((text, None) for text in ("", "abc", "1e400", "NaN", "Inf", "1_0", " 1", "1 ", "٣", "2026-13-01T00:00:00Z", "2026-01-01", "2026-01-01T00:00:00")),
    ],
)  # fmt: skip
def test_times(text: str, ms: int | None) -> None:
    assert read_time_ms(text) == ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("15", 15000),
        ("0.5", 500),
        ("0.0001", 0),
        ("-1", -1000),
        ("1h30m", 5400000),
        ("1s500ms", 1500),
        ("1y1w1d", 32227200000),
        *((text, None) for text in ("", "0.5h", "1m30", "30m1h", "1h1h", "m", "1x", "1e400", "9" * 30 + "y")),
    ],
)
def test_durations(text: str, ms: int | None) -> None:
    assert read_duration_ms(text) == ms
