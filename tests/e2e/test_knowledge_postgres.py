"""Knowledge bases with PostgreSQL and pgvector in the place of a file: the same answers, and nothing in the data directory."""

import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from installation import Installation, Served
from postgres import fresh_postgres

PAPERS = {
    "leave.md": "# 年假\n\n员工每年有五天带薪年假。\n",
    "kettle.md": "The kettle boils one litre in four minutes. Its guarantee covers two years.\n",
}


async def test_whole_life(postgres_url: str, tmp_path: Path) -> None:
    """Filled, asked, emptied."""
    database = await fresh_postgres(postgres_url, tmp_path)
    name = str(database).partition("@/")[2].partition("?")[0]
    await database.close()
    host = parse_qs(urlsplit(postgres_url).query)["host"][0]
    user = urlsplit(postgres_url).username
    config = f'[database]\nurl = "postgresql://{user}@/{name}?host={host}"\n[knowledge]\nindex = "database"\n'
    with Installation(tmp_path, config) as installation:
        check(Served(installation))
        assert not (installation.data_dir / "knowledge.db").exists()


def check(served: Served) -> None:
    def ask(method: str, path: str, body: Any = None) -> Any:
        answer = httpx.request(method, served.origin + path, json=body, headers=served.headers(), timeout=60)
        assert answer.status_code < 300, answer.text
        return answer.json()

    files = {}
    for name, text in PAPERS.items():
        form = {"data": {"purpose": "assistants"}, "files": {"file": (name, text.encode())}}
        files[name] = httpx.post(f"{served.origin}/v1/files", headers=served.headers(), **form).json()["id"]
    store = ask("POST", "/v1/vector_stores", {"name": "pg", "file_ids": list(files.values())})["id"]
    for _ in range(300):
        told = ask("GET", f"/v1/vector_stores/{store}")
        if told["status"] == "completed":
            break
        time.sleep(0.1)
    assert told["file_counts"]["completed"] == 2, ask("GET", f"/v1/vector_stores/{store}/files")

    def first(query: str) -> str:
        return ask("POST", f"/v1/vector_stores/{store}/search", {"query": query})["data"][0]["filename"]

    assert first("年假") == "leave.md"
    assert first("水壶保修多久") == "kettle.md"
    assert first("paid leave") == "leave.md"
    ask("DELETE", f"/v1/files/{files['leave.md']}")
    found = ask("POST", f"/v1/vector_stores/{store}/search", {"query": "年假"})["data"]
    assert "leave.md" not in [one["filename"] for one in found]
    ask("DELETE", f"/v1/vector_stores/{store}")
