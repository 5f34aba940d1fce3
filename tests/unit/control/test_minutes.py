"""A minute's calls under Model Studio's names: sums are sums, quantiles are between what there was, nothing is told of what was not."""

import random
from collections import defaultdict

from steelyard.control.minutes import BOUNDS, Call, Minute, tell_minute


def call(**fields: object) -> Call:
    base = {
        "workspace": "w", "key_id": "k", "operation": "chat", "model": "m", "target": "p/m", "is_stream": False, "status": 200, "error": None,
        "duration_us": 1_000_000, "first_token_us": None, "prompt_tokens": 10, "completion_tokens": 5, "cached_tokens": 0, "image_count": 0,
        "video_seconds": 0, "audio_seconds": 0, "charged_micros": 0, "currency": "CNY",
    }  # fmt: skip
    return Call(**{**base, **fields})  # type: ignore[arg-type]


def values(minute: Minute) -> dict[str, float]:
    found: dict[str, float] = defaultdict(float)
    for one in minute.gauges:
        found[one.name + one.labels.get("usage_type", "")] += one.value
    return found


def test_a_stream() -> None:
    minute = tell_minute([call(is_stream=True, first_token_us=200_000, completion_tokens=5)], 60, per_s=1000)
    found = values(minute)
    assert found["model_call_duration"] == found["model_call_duration_p99"] == 1000
    assert found["model_first_token_duration"] == 200
    assert found["model_generation_duration_per_token"] == 200
    assert found["model_tps_per_request"] == 5
    assert {one.labels["protocol"] for one in minute.gauges} == {"SSE"}
    in_seconds = values(tell_minute([call()], 60, per_s=1))
    assert in_seconds["model_call_duration"] == 1
    assert "model_first_token_duration" not in in_seconds


def test_outcomes() -> None:
    calls = [
        call(),
        call(status=429, error="upstream_rate_limited"),
        call(status=400, error="data_inspection_failed"),
        call(status=503, error="x"),
    ]
    minute = tell_minute(calls, 60, per_s=1000)
    found = values(minute)
    assert (found["model_call_count"], found["model_call_failed_count"]) == (4, 3)
    assert (found["model_call_4xx_count"], found["model_call_5xx_count"], found["model_call_429_count"]) == (2, 1, 1)
    assert found["model_call_data_inspection_failed_count"] == 1
    codes = {
        (one.labels["status_code"], one.labels["error_code"]) for one in minute.gauges if one.name == "model_call_count"
    }
    assert ("503", "x") in codes


def test_modalities() -> None:
    calls = [
        call(operation="images", image_count=2, prompt_tokens=0, completion_tokens=0, charged_micros=400_000),
        call(operation="videos", video_seconds=5, prompt_tokens=0, completion_tokens=0),
        call(operation="transcription", audio_seconds=7, prompt_tokens=0, completion_tokens=0),
        call(cached_tokens=5),
    ]
    minute = tell_minute(calls, 60, per_s=1000)
    found = values(minute)
    assert (found["model_usageimage_count"], found["model_usageduration"], found["model_usagetotal_tokens"]) == (
        2,
        12,
        15,
    )
    assert found["model_total_amount"] == 0.4
    assert found["model_cache_hit_percent"] == 50
    assert {one.labels["sub_protocol"] for one in minute.gauges} == {"ASYNC", "DEFAULT"}


def test_sums_of_many() -> None:
    """Whatever the calls, counts and sums are theirs, and a histogram has each of them once."""
    pick = random.Random(3)
    calls = [
        call(
            workspace=pick.choice("ab"), key_id=pick.choice("kl"), model=pick.choice("mn"), is_stream=pick.random() < 0.5,
            duration_us=pick.randrange(1, 10**9), prompt_tokens=pick.randrange(10**5), completion_tokens=pick.randrange(1000),
            first_token_us=pick.choice((None, 1000)),
        )
        for _ in range(500)
    ]  # fmt: skip
    minute = tell_minute(calls, 60, per_s=1000)
    found = values(minute)
    assert found["model_call_count"] == 500
    assert found["model_usageinput_tokens"] == sum(one.prompt_tokens for one in calls)
    assert abs(found["model_call_duration_total"] - sum(one.duration_us for one in calls) / 1000) < 1e-3
    durations = [one for one in minute.growths if one.name == "gen_ai_server_request_duration_seconds"]
    assert sum(sum(one.counts) for one in durations) == 500
    assert all(len(one.counts) == len(BOUNDS[one.name]) + 1 for one in minute.growths)
    assert tell_minute([], 60, per_s=1000).gauges == []
