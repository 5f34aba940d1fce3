"""What a crossing costs: the same calls by each API in front of one OpenAI upstream, rounds interleaved, medians."""

import contextlib
import statistics
import sys

from bench import peers

CALLS = 10_000
STREAMS = 640
CHUNKS = 64
APIS = ("openai", "dashscope", "anthropic")


def table(load, cpu_per_thousand, rounds: int) -> str:
    """A row an API: CPU of gateway and supervisor, and its ratio to the relay of the same dialect."""
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(peers.workspace())
        mock = stack.enter_context(peers.mock())
        peer = stack.enter_context(peers.steelyard(mock.port, directory, has_two_targets=False, key_flags=[]))
        plain: dict[str, list[float]] = {api: [] for api in APIS}
        streams: dict[str, list[float]] = {api: [] for api in APIS}
        for api in APIS:
            load(peer, total=2000, api=api)
        for number in range(rounds):
            for api in APIS:
                for figures, options in ((plain, {"total": CALLS}), (streams, {"total": STREAMS, "stream": True})):
                    cpu, result = cpu_per_thousand(peer, ("gateway", "supervisor"), api=api, **options)
                    if result["errors"]:
                        raise RuntimeError(f"{api}: {result['errors']} errors")
                    figures[api].append(sum(cpu.values()))
            print(f"crossings: round {number + 1} done", file=sys.stderr)
    bases = [statistics.median(figures["openai"]) for figures in (plain, streams)]
    lines = [
        "| callers' API, upstream openai | CPU-s / 1,000 plain calls | ratio | CPU-s / 1,000 streams of 64 | ratio | µs a chunk |",
        "|---|---|---|---|---|---|",
    ]
    for api in APIS:
        one, many = statistics.median(plain[api]), statistics.median(streams[api])
        lines.append(
            f"| {api} | {one:.4f} | {one / bases[0]:.2f} | {many:.3f} | {many / bases[1]:.2f} | {many * 1000 / CHUNKS:.1f} |"
        )
    return "\n".join(lines)
