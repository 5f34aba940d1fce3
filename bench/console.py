"""What people who look at the console do to everybody else's calls."""

import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Self

from bench.knowledge import watch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

PEOPLE, PAGE_EVERY_S, ROUNDS = 10, 1.0, 5
PAGES = (
    "/console/", "/console/requests", "/console/usage?days=30", "/console/settings/keys", "/console/models",
    "/console/latest", "/hub/?q=qwen", "/hub/ranking", "/console/alerts", "/console/playground",
)  # fmt: skip


class Crowd:
    """People, each of whom opens a page every second."""

    def __init__(self, installation: Any) -> None:
        from people import Person

        self._people = [Person(installation).found(f"looker-{n}") for n in range(PEOPLE)]
        self._is_over = threading.Event()
        self.took_ms: list[float] = []

    def __enter__(self) -> Self:
        self._is_over.clear()
        self._threads = [threading.Thread(target=self._look, args=(n,)) for n in range(PEOPLE)]
        for one in self._threads:
            one.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for one in self._threads:
            one.join()

    def _look(self, number: int) -> None:
        page = number
        while not self._is_over.wait(PAGE_EVERY_S):
            began = time.perf_counter()
            answer = self._people[number].get(PAGES[page % len(PAGES)], headers={"accept-encoding": "gzip"})
            self.took_ms.append((time.perf_counter() - began) * 1000)
            assert answer.status_code == 200, answer.text[:300]
            page += 1


def table() -> str:
    """Calls idle and beside a crowd, turn by turn."""
    from bench import peers
    from installation import Installation, Served

    with peers.mock() as vendor, tempfile.TemporaryDirectory() as place:
        config = f'[providers.mock]\nbase_url = "http://127.0.0.1:{vendor.port}/v1"\n[models.mock]\ntargets = [{{provider = "mock"}}]\n'
        with Installation(Path(place), config) as installation:
            served = Served(installation)
            crowd = Crowd(installation)
            watch(served)
            idle, busy = [], []
            for _ in range(ROUNDS):
                idle.append(watch(served))
                with crowd:
                    busy.append(watch(served))
    pages = statistics.quantiles(crowd.took_ms, n=20)
    found = {
        name: [statistics.median(one[f"{name}_ms"] for one in windows) for windows in (idle, busy)]
        for name in ("p50", "p99")
    }
    return (
        f"Console (`python -m bench --no-peers --console`): {PEOPLE} people open a page a second each "
        f"({len(crowd.took_ms)} pages, p50 {statistics.median(crowd.took_ms):.0f} ms, p95 {pages[-1]:.0f} ms). Calls of others: "
        f"p50 {found['p50'][0]:.2f} ms idle, {found['p50'][1]:.2f} ms meanwhile; p99 {found['p99'][0]:.2f} and {found['p99'][1]:.2f} ms "
        f"({found['p99'][1] / found['p99'][0]:.2f} ×; medians of {ROUNDS} windows).\n"
    )
