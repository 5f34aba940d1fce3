"""Workers killed while documents come in: every document ends indexed exactly once, or failed with a reason; nothing hangs."""

import json
import os
import random
import signal
import time
from typing import Any

import httpx
import pytest

from installation import Installation, Served

BROKEN_EVERY = 10


def ask(served: Served, method: str, path: str, body: Any = None) -> Any:
    answer = httpx.request(method, served.origin + path, json=body, headers=served.headers(), timeout=60)
    assert answer.status_code < 300, answer.text
    return answer.json()


def upload(served: Served, number: int) -> str:
    """A document of some chunks; every tenth is damaged."""
    if number % BROKEN_EVERY == 9:
        name, data = f"paper{number}.pdf", f"%PDF-1.4 {number}".encode()
    else:
        parts = "\n\n".join(
            f"Section {part} of paper {number} tells of harbour {number * 7 + part}." for part in range(12)
        )
        name, data = f"paper{number}.md", f"# Paper {number}\n\n{parts}\n".encode()
    form = {"data": {"purpose": "assistants"}, "files": {"file": (name, data)}}
    return httpx.post(f"{served.origin}/v1/files", headers=served.headers(), timeout=60, **form).json()["id"]


def kill_worker(installation: Installation) -> bool:
    for pid, role in installation.children().items():
        if role == "worker":
            os.kill(pid, signal.SIGKILL)
            return True
    return False


def check_killed(installation: Installation, documents: int, kills: int) -> None:
    with installation:
        served = Served(installation)
        wish = {
            "name": "killed",
            "embedding_model": "local/use-multilingual-v3",
            "chunking": {"size": 120, "overlap": 0},
        }
        base = ask(served, "POST", "/control/v1/knowledge-bases", wish)["id"]
        path = f"/control/v1/knowledge-bases/{base}"
        files = [upload(served, number) for number in range(documents)]
        job = ask(served, "POST", f"{path}/documents", {"documents": files})["id"]
        pick, killed = random.Random(4), 0
        give_up_at = time.monotonic() + 60 + 10 * kills + documents
        while time.monotonic() < give_up_at:
            told = ask(served, "GET", f"{path}/jobs/{job}")
            if told["status"] not in ("PENDING", "RUNNING"):
                break
            if killed < kills and told["documents"].get("RUNNING", 0) > 0:
                killed += kill_worker(installation)
                time.sleep(pick.uniform(1.0, 2.0))
            else:
                time.sleep(0.2)
        assert told["status"] == "SUCCEEDED", told
        assert killed >= min(kills, 3), killed
        check_exactly_once(served, path, documents)
        print(f"{killed} kills over {documents} documents")


def check_exactly_once(served: Served, path: str, documents: int) -> None:
    states: dict[str, Any] = {}
    for page in range(1, documents // 200 + 2):
        found = ask(served, "GET", f"{path}/documents?page_size=200&page_no={page}")["data"]
        states |= {one["name"]: one for one in found}
    assert len(states) == documents
    broken = {name for name in states if name.endswith(".pdf")}
    for name, state in states.items():
        assert state["status"] == ("PARSE_FAILED" if name in broken else "FINISH"), state
        assert bool(state["message"]) == (name in broken), state
    chunks: dict[str, list[int]] = {}
    page = 1
    while True:
        found = ask(served, "GET", f"{path}/chunks?page_size=200&page_no={page}")
        for one in found["data"]:
            chunks.setdefault(one["document"], []).append(one["number"])
        if page * 200 >= found["total"]:
            break
        page += 1
    assert len(chunks) == documents - len(broken)
    for state in states.values():
        numbers = chunks.get(state["id"], [])
        assert sorted(numbers) == list(range(state["chunks"])), (state, numbers)


def test_killed(make_installation: Any) -> None:
    """Three times over forty documents."""
    check_killed(make_installation(), 40, 3)


@pytest.mark.long
def test_killed_often(make_installation: Any) -> None:
    """Twenty times over two hundred documents."""
    check_killed(make_installation(), 200, 20)


def test_a_job_is_stopped(make_installation: Any) -> None:
    """What has come in stays; the rest says that the job was cancelled."""
    with make_installation() as installation:
        served = Served(installation)
        wish = {"name": "stopped", "chunking": {"size": 120, "overlap": 0}}
        base = ask(served, "POST", "/control/v1/knowledge-bases", wish)["id"]
        path = f"/control/v1/knowledge-bases/{base}"
        files = [upload(served, number) for number in range(8)]
        job = ask(served, "POST", f"{path}/documents", {"documents": files})["id"]
        for _ in range(300):
            told = ask(served, "GET", f"{path}/jobs/{job}")
            if told["documents"].get("FINISH"):
                break
            time.sleep(0.1)
        assert told["eta_s"] is None or told["eta_s"] > 0
        ask(served, "POST", f"{path}/jobs/{job}/cancel")
        for _ in range(600):
            told = ask(served, "GET", f"{path}/jobs/{job}")
            if told["status"] == "CANCELED":
                break
            time.sleep(0.1)
        assert told["status"] == "CANCELED", json.dumps(told)
        assert "RUNNING" not in told["documents"]
        found = ask(served, "GET", f"{path}/documents")["data"]
        assert any(one["code"] == "Cancelled" for one in found)
