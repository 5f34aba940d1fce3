"""`make bench`: one run, every peer against the same mock, ratios in a table and a picture.

CPU is of the proxy's processes alone: for us gateway and supervisor, and beside it the face, which carries the journal.
Rounds are interleaved over the peers and the median is taken, so that a busy moment harms all alike.
"""

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench import console, crossings, engine, features, knowledge, monitoring, peers, picture, task_queue

OUT = Path("bench-results")
PLAIN_CALLS = 7_000
#: Windows of plain calls a round, the peers taking turns.
WINDOWS = 3
STREAMS = 640
LITELLM_DIVISOR = 20


def load(
    peer: peers.Peer, *, total: int, connections: int = 32, rate: float = 0, stream: bool = False, api: str = "openai"
) -> dict:
    command = [sys.executable, str(peers.ROOT / "bench/load.py"), "--port", str(peer.port), "--key", peer.key]
    command += ["--total", str(total), "--connections", str(connections), "--rate", str(rate), "--api", api]
    if stream:
        command.append("--stream")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=150)
    if done.returncode:
        raise RuntimeError(f"load on {peer.name} failed: {done.stderr[-500:]}")
    return json.loads(done.stdout)


def cpu_per_thousand(peer: peers.Peer, roles: tuple[str, ...], **options) -> tuple[dict[str, float], dict]:
    before = {role: peer.cpu_s(role) for role in roles}
    result = load(peer, **options)
    # journals are carried behind the answers: their cost belongs to these calls
    time.sleep(1.2 if peer.name == "steelyard" else 0.1)
    return {role: (peer.cpu_s(role) - before[role]) / result["calls"] * 1000 for role in roles}, result


def measure(running: dict[str, peers.Peer], rounds: int) -> dict:
    """Rounds over all peers; medians."""
    samples: dict[str, dict[str, list[float]]] = {name: {} for name in running}

    def note(name: str, what: str, value: float) -> None:
        samples[name].setdefault(what, []).append(value)

    for number in range(rounds):
        for _ in range(WINDOWS):
            for name, peer in running.items():
                cpu, result = cpu_per_thousand(peer, peer.roles, total=PLAIN_CALLS // scale_of(name))
                for role, value in cpu.items():
                    note(name, f"plain cpu {role}", value)
                note(name, "errors", result["errors"])
        for name, peer in running.items():
            scale, roles = scale_of(name), peer.roles
            for connections in (1, 32, 256):
                total = (2000 if connections == 1 else 8000) // scale
                found = load(peer, total=max(total, connections), connections=connections)
                note(name, f"p50 {connections}", found["p50_ms"])
                note(name, f"p99 {connections}", found["p99_ms"])
                note(name, "errors", found["errors"])
            if name != "litellm":
                found = load(peer, total=8000, connections=64, rate=2000)
                note(name, "open p50", found["p50_ms"])
                note(name, "open p99", found["p99_ms"])
            cpu, result = cpu_per_thousand(peer, roles, total=STREAMS // (4 if scale > 1 else 1), stream=True)
            for role, value in cpu.items():
                note(name, f"stream cpu {role}", value)
            note(name, "first p50", result["first_p50_ms"])
            note(name, "errors", result["errors"])
            print(f"round {number + 1}: {name} done", file=sys.stderr)
    return {
        name: {what: (sum(values) if what == "errors" else statistics.median(values)) for what, values in found.items()}
        for name, found in samples.items()
    }


def scale_of(name: str) -> int:
    """By what a peer's calls are divided: one would take all night."""
    return LITELLM_DIVISOR if name == "litellm" else 1


def table(figures: dict, running: dict[str, peers.Peer], memory: dict[str, float]) -> list[list[str]]:
    own = {"steelyard": ("gateway", "supervisor")}

    def cpu(name: str, kind: str) -> float:
        return sum(figures[name].get(f"{kind} cpu {role}", 0.0) for role in own.get(name, ("proxy", "mock")))

    rows = [["", *running]]
    rows.append(["CPU-s / 1,000 plain calls", *(f"{cpu(name, 'plain'):.4f}" for name in running)])
    rows.append(["  ratio to nginx", *(f"{cpu(name, 'plain') / cpu('nginx', 'plain'):.2f}" for name in running)])
    rows.append(["  ratio to Envoy", *(f"{cpu(name, 'plain') / cpu('envoy', 'plain'):.2f}" for name in running)])
    rows.append(["CPU-s / 1,000 streams of 64", *(f"{cpu(name, 'stream'):.3f}" for name in running)])
    rows.append(["  ratio to Envoy", *(f"{cpu(name, 'stream') / cpu('envoy', 'stream'):.2f}" for name in running)])
    for connections in (1, 32, 256):
        for q in ("p50", "p99"):
            label = f"{q} added at {connections} connections, ms"
            base = figures["direct"][f"{q} {connections}"]
            rows.append([label, *(f"{figures[name][f'{q} {connections}'] - base:.2f}" for name in running)])
    for q in ("p50", "p99"):
        base = figures["direct"][f"open {q}"]
        values = (figures[name].get(f"open {q}") for name in running)
        rows.append(
            [f"{q} added at 2,000 calls/s, ms", *("–" if one is None else f"{one - base:.2f}" for one in values)]
        )
    base = figures["direct"]["first p50"]
    rows.append(["first token added, p50 ms", *(f"{figures[name]['first p50'] - base:.2f}" for name in running)])
    rows.append(["memory, MB", *(f"{memory[name]:.0f}" for name in running)])
    rows.append(["start-up, s", *(f"{peer.started_s:.2f}" for peer in running.values())])
    rows.append(["errors", *(f"{figures[name]['errors']:.0f}" for name in running)])
    return rows


def markdown(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--litellm", action="store_true", help="install and measure LiteLLM too (a venv of its own)")
    parser.add_argument("--million", action="store_true", help="memory over a million calls")
    parser.add_argument("--features", action="store_true", help="what each feature costs")
    parser.add_argument("--engine", action="store_true", help="the embedded model against the bare engine")
    parser.add_argument("--crossings", action="store_true", help="what a crossing between APIs costs")
    parser.add_argument("--queue", action="store_true", help="the task queue by itself")
    parser.add_argument(
        "--knowledge", action="store_true", help="retrieval's quality and speed, and ingestion beside calls"
    )
    parser.add_argument("--monitoring", action="store_true", help="samples and queries, beside a real Prometheus")
    parser.add_argument("--console", action="store_true", help="calls beside people who look at the console")
    parser.add_argument("--no-peers", action="store_true", help="only what else is asked for")
    arguments = parser.parse_args()
    OUT.mkdir(exist_ok=True)
    text = f"Python {sys.version}\n\n" + ("" if arguments.no_peers else against_peers(arguments))
    if arguments.features:
        text += f"\n{features.table(load, cpu_per_thousand, arguments.rounds)}\n"
    if arguments.crossings:
        text += f"\n{crossings.table(load, cpu_per_thousand, arguments.rounds)}\n"
    if arguments.engine:
        text += f"\n{engine.compare()}\n"
    if arguments.queue:
        text += f"\n{task_queue.table(arguments.rounds)}\n"
    if arguments.knowledge:
        text += f"\n{knowledge.table()}\n"
    if arguments.console:
        text += f"\n{console.table()}\n"
    if arguments.monitoring:
        text += f"\n{monitoring.table()}\n"
    (OUT / "table.md").write_text(text)
    print(text)
    print(f"written to {OUT}", file=sys.stderr)


def against_peers(arguments: argparse.Namespace) -> str:
    """The main table, with its figures and picture written beside it."""
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(peers.workspace())
        direct = stack.enter_context(peers.mock())
        running = {"direct": direct}
        names = ["nginx", "envoy", "steelyard", *(["litellm"] if arguments.litellm else [])]
        for name in names:
            running[name] = stack.enter_context(getattr(peers, name)(direct.port, directory))
        for peer in running.values():
            load(peer, total=500)
        figures = measure(running, arguments.rounds)
        memory = {name: peer.rss_mb("gateway" if name == "steelyard" else None) for name, peer in running.items()}
        rows = table(figures, running, memory)
        text = markdown(rows)
        ours = figures["steelyard"]
        text += (
            f"\n\nBeside the gateway: the face, which carries the journal to the ledger, takes "
            f"{ours['plain cpu face']:.4f} CPU-s per 1,000 plain calls and {ours['stream cpu face']:.3f} per 1,000 streams.\n"
        )
        if arguments.million:
            text += f"\n{over_a_million(running['steelyard'])}\n"
    (OUT / "figures.json").write_text(json.dumps(figures, indent=1))
    (OUT / "picture.svg").write_text(picture.draw(rows))
    return text


def over_a_million(peer: peers.Peer) -> str:
    """Gateway memory before and after a million calls."""
    readings = [peer.rss_mb("gateway")]
    for _ in range(10):
        load(peer, total=100_000, connections=64)
        readings.append(peer.rss_mb("gateway"))
    return "Gateway memory over a million calls, MB: " + ", ".join(f"{value:.0f}" for value in readings)


if __name__ == "__main__":
    main()
