"""What each feature costs a plain call: the same installation with one thing more, rounds interleaved, medians."""

import contextlib
import statistics
import sys

from bench import peers

CALLS = 20_000
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
        [["inspection", "set", "--words-file", "words.txt", "--mask", "phone,id_card,bank_card,key"]],
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
            (place / "words.txt").write_text("\n".join(f"forbidden{n}" for n in range(1000)), encoding="utf-8")
            running[name] = stack.enter_context(
                peers.steelyard(mock.port, place, has_two_targets=targets == "two", key_flags=flags, commands=commands)
            )
        figures: dict[str, list[float]] = {name: [] for name in running}
        streams: dict[str, list[float]] = {name: [] for name in running}
        for peer in running.values():
            load(peer, total=2000)
        for number in range(rounds):
            for name, peer in running.items():
                cpu, result = cpu_per_thousand(peer, ("gateway", "supervisor"), total=CALLS)
                if result["errors"]:
                    raise RuntimeError(f"{name}: {result['errors']} errors")
                figures[name].append(sum(cpu.values()))
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
    return "\n".join(lines)
