"""What each feature costs a plain call: the same installation with one thing more, rounds interleaved, medians."""

import contextlib
import statistics
import sys
import timeit

from bench import peers
from bench.load import request
from bench.mock import PLAIN_BODY
from steelyard.canon.inspection import InspectionPolicy
from steelyard.policy.inspection import Inspector

CALLS = 7_000
#: Short windows, many of them: what else the host does moves single ones by ten microseconds a call.
WINDOWS = 3
WORDS = tuple(f"forbidden{n}" for n in range(1000))
MASKS = ("phone", "id_card", "bank_card", "key")
#: name -> what is added to the configuration, flags of the key, commands on the installation
FEATURES: dict[str, tuple[str, list[str], list[list[str]]]] = {
    "one target": ("", [], []),
    "two targets": ("two", [], []),
    "limits": ("two", ["--rpm", "100000000", "--tpm", "1000000000000", "--concurrency", "100000"], []),
    "limits and budget": (
        "two",
        [
            "--rpm",
            "100000000",
            "--tpm",
            "1000000000000",
            "--concurrency",
            "100000",
            "--budget-tokens",
            "900000000000000",
        ],
        [],
    ),
    "inspection": (
        "two",
        [],
        [["inspection", "set", "--words-file", "words.txt", "--mask", ",".join(MASKS)]],
    ),
}


def table(load, cpu_per_thousand, rounds: int) -> str:
    """A row a feature: CPU of gateway and supervisor per 1,000 plain calls, and what it adds."""
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(peers.workspace())
        mock = stack.enter_context(peers.mock())
        running = {}
        for name, (targets, flags, commands) in FEATURES.items():
            place = directory / name.replace(" ", "-")
            place.mkdir()
            (place / "words.txt").write_text("\n".join(WORDS), encoding="utf-8")
            running[name] = stack.enter_context(
                peers.steelyard(mock.port, place, has_two_targets=targets == "two", key_flags=flags, commands=commands)
            )
        figures: dict[str, list[float]] = {name: [] for name in running}
        streams: dict[str, list[float]] = {name: [] for name in running}
        for peer in running.values():
            load(peer, total=2000)
        for number in range(rounds):
            for _ in range(WINDOWS):
                for name, peer in running.items():
                    cpu, result = cpu_per_thousand(peer, ("gateway", "supervisor"), total=CALLS)
                    if result["errors"]:
                        raise RuntimeError(f"{name}: {result['errors']} errors")
                    figures[name].append(sum(cpu.values()))
            for name, peer in running.items():
                cpu, _ = cpu_per_thousand(peer, ("gateway", "supervisor"), total=640, stream=True)
                streams[name].append(sum(cpu.values()))
            print(f"features: round {number + 1} done", file=sys.stderr)
    base = statistics.median(figures["one target"])
    lines = [
        "| feature | CPU-s / 1,000 plain calls | adds, µs a call | CPU-s / 1,000 streams of 64 |",
        "|---|---|---|---|",
    ]
    for name, values in figures.items():
        median = statistics.median(values)
        added = "–" if name == "one target" else f"{(median - base) * 1000:+.1f}"
        lines.append(f"| {name} | {median:.4f} | {added} | {statistics.median(streams[name]):.3f} |")
    lines += ["", f"The looks at a call's texts and its answer's, by themselves: {texts_us():.1f} µs."]
    return "\n".join(lines)


def texts_us() -> float:
    """What inspection costs for its texts' own sake: the question and the answer matched against the same policy."""
    inspector = Inspector(InspectionPolicy(words=WORDS, mask=MASKS))
    question = request(0, "", "mock", False, "openai").partition(b"\r\n\r\n")[2]
    answer = PLAIN_BODY[PLAIN_BODY.find(b'"choices"') :]
    if not inspector.is_clean(question) or not inspector.is_clean(answer):
        raise RuntimeError("the bench's texts must be clean")

    def look() -> None:
        inspector.is_clean(question)
        inspector.is_clean(answer)

    return min(timeit.repeat(look, number=10_000, repeat=5)) / 10_000 * 1e6
