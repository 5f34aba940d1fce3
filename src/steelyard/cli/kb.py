"""`steelyard kb`."""

import hashlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from cyclopts import App

from steelyard.base.errors import SetupFault
from steelyard.cli.context import EXIT_FAILED, print_json, print_table
from steelyard.cli.media_flags import HERE, EndpointFlags, calling
from steelyard.client.api import Client

app = App(name="kb", help="Knowledge bases: create, fill, search and measure them.")

ROOT = "/control/v1/knowledge-bases"
#: What a server reads; of folders the rest is passed over.
SUFFIXES = frozenset({".txt", ".md", ".html", ".htm", ".csv", ".json", ".pdf", ".docx", ".pptx", ".xlsx", ".epub"})
LOOK_S = 0.5
#: Questions measured in one call, and files taken in by one job.
PORTION, FILES = 50, 500


@app.command
def create(
    name: str,
    *,
    description: str = "",
    size: int = 500,
    overlap: int = 100,
    mode: str = "",
    separator: str = "",
    embedding_model: str = "",
    rerank_model: str = "",
    endpoint: EndpointFlags = HERE,
    json: bool = False,
) -> None:
    """Make a knowledge base; prints its id.

    Parameters
    ----------
    name
        What people call it.
    description
        What it is for.
    size
        Characters of a chunk, at most.
    overlap
        Characters that a chunk begins with of the one before it.
    mode
        How documents are cut: by sections (default), length, page, h1, h2, or regex.
    separator
        The pattern of the mode regex.
    embedding_model
        A model of the server; default both embedded ones.
    rerank_model
        A model of the server; default the embedded one.
    endpoint
        Whose.
    json
        Print JSON.
    """
    body = {
        "name": name,
        "description": description,
        "chunking": {"size": size, "overlap": overlap, "mode": mode, "separator": separator},
        "embedding_model": embedding_model,
        "rerank_model": rerank_model,
    }
    with calling(endpoint) as client:
        made = client.post(ROOT, body).json()
    _print(made, made["id"], json=json)


@app.command(name="list")
def list_bases(*, endpoint: EndpointFlags = HERE, json: bool = False) -> None:
    """List knowledge bases, the newest first."""
    with calling(endpoint) as client:
        found = list(_pages(client, ROOT))
    if json:
        print_json(found)
        return
    rows = [(one["id"], one["name"], sum(one["documents"].values()), f"{one['bytes']:,}") for one in found]
    print_table(("id", "name", "documents", "bytes"), rows)


@app.command
def show(base: str, *, endpoint: EndpointFlags = HERE, json: bool = False) -> None:
    """Show a knowledge base."""
    with calling(endpoint) as client:
        found = client.get(f"{ROOT}/{base}").json()
    if json:
        print_json(found)
    else:
        print_table(("Field", "Value"), list(found.items()))


@app.command
def delete(base: str, *, endpoint: EndpointFlags = HERE) -> None:
    """Delete a knowledge base; files that were put into it stay."""
    with calling(endpoint) as client:
        client.delete(f"{ROOT}/{base}")
    print(f"{base} is deleted.")


@app.command
def add(base: str, *paths: Path, wait: bool = True, endpoint: EndpointFlags = HERE, json: bool = False) -> None:
    """Put files and folders into a base. What it has already is passed over; what was changed takes the old one's place.

    Parameters
    ----------
    base
        The base's id.
    paths
        Files, and folders with all below them.
    wait
        Wait until they can be found.
    endpoint
        Whose.
    json
        Print JSON.
    """
    files = list(_files(paths))
    if not files:
        raise SetupFault(f"There is nothing to add; read are {' '.join(sorted(SUFFIXES))}.")
    with calling(endpoint) as client:
        documents = f"{ROOT}/{base}/documents"
        known = {one["name"]: one for one in _pages(client, documents)}
        changed = [(name, file) for name, file in files if not _is_known(known.get(name), file)]
        if not changed:
            print(f"Nothing was changed: {len(files)} files are in the base already.", file=sys.stderr)
            return
        added = [_upload(client, name, file) for name, file in changed]
        jobs = []
        for start in range(0, len(added), FILES):
            job = client.post(documents, {"documents": added[start : start + FILES]}).json()
            jobs.append(_wait(client, base, job) if wait else job)
        names = {job["id"] for job in jobs}
        failed = [
            one
            for one in _pages(client, documents)
            if one["job"] in names and one["status"] in ("INSERT_ERROR", "PARSE_FAILED")
        ]
        # what takes an old one's place is found before that is gone
        for name, _ in changed:
            if name in known and name not in {one["name"] for one in failed}:
                client.delete(f"{documents}/{known[name]['id']}")
    unchanged = len(files) - len(changed)
    if json:
        print_json({"jobs": jobs, "failed": failed, "unchanged": unchanged})
    else:
        for one in failed:
            print(f"{one['name']}: {one['message']}", file=sys.stderr)
        for job in jobs:
            print(f"{job['id']}  {job['status']}")
        print(f"{len(added) - len(failed)} of {len(added)} files, {unchanged} unchanged")
    if failed:
        sys.exit(EXIT_FAILED)


def _is_known(was: dict[str, Any] | None, file: Path) -> bool:
    return was is not None and was["status"] == "FINISH" and was["digest"] == _digest(file)


def _upload(client: Client, name: str, file: Path) -> str:
    with file.open("rb") as opened:
        form = {"purpose": (None, "file-extract"), "file": (name, opened)}
        made: str = client.upload(f"{client.endpoint.base_url}/files", form).json()["id"]
    return made


def _files(paths: tuple[Path, ...]) -> Iterator[tuple[str, Path]]:
    """Files by the names that they have in the base: below a folder, with their folders."""
    for path in paths:
        if path.is_dir():
            for file in sorted(one for one in path.rglob("*") if one.suffix.lower() in SUFFIXES and one.is_file()):
                yield str(file.relative_to(path)).replace("/", "_"), file
        elif path.is_file():
            yield path.name, path
        else:
            raise SetupFault(f"{path} does not exist.")


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _pages(client: Client, path: str) -> Iterator[dict[str, Any]]:
    page = 1
    while True:
        mark = "&" if "?" in path else "?"
        found = client.get(f"{path}{mark}page_size=200&page_no={page}").json()
        yield from found["data"]
        if page * 200 >= found["total"]:
            return
        page += 1


def _wait(client: Client, base: str, job: dict[str, Any]) -> dict[str, Any]:
    """Until a job is over, with a bar for whoever looks."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        line = bar.add_task("indexing", total=job["total"])
        while job["status"] in ("PENDING", "RUNNING"):
            time.sleep(LOOK_S)
            job = client.get(f"{ROOT}/{base}/jobs/{job['id']}").json()
            bar.update(line, completed=job["done"])
    return job


@app.command
def documents(base: str, *, endpoint: EndpointFlags = HERE, json: bool = False) -> None:
    """List a base's documents with their states."""
    with calling(endpoint) as client:
        found = list(_pages(client, f"{ROOT}/{base}/documents"))
    if json:
        print_json(found)
        return
    rows = [(one["id"], one["name"], one["status"], one["chunks"], one["message"]) for one in found]
    print_table(("id", "name", "status", "chunks", ""), rows)


@app.command
def remove(base: str, document: str, *, endpoint: EndpointFlags = HERE) -> None:
    """Take a document out of a base."""
    with calling(endpoint) as client:
        client.delete(f"{ROOT}/{base}/documents/{document}")
    print(f"{document} is removed.")


@app.command
def chunks(base: str, document: str | None = None, *, endpoint: EndpointFlags = HERE, json: bool = False) -> None:
    """List the chunks of a base, or of one of its documents."""
    query = f"?document={document}" if document else ""
    with calling(endpoint) as client:
        found = list(_pages(client, f"{ROOT}/{base}/chunks{query}"))
    if json:
        print_json(found)
        return
    rows = [(one["id"], one["place"] or " > ".join(one["headings"]), _line(one["text"], 80)) for one in found]
    print_table(("id", "place", "text"), rows)


@app.command
def search(
    base: str,
    query: str,
    *,
    limit: int = 5,
    mode: str = "hybrid",
    min_score: float | None = None,
    endpoint: EndpointFlags = HERE,
    json: bool = False,
) -> None:
    """Find the passages of a base that answer a question.

    Parameters
    ----------
    base
        The base's id.
    query
        The question.
    limit
        Passages, at most.
    mode
        hybrid, vectors or text.
    min_score
        Nothing below this, 0 to 1.
    endpoint
        Whose.
    json
        Print JSON.
    """
    body: dict[str, Any] = {"query": query, "limit": limit, "mode": mode}
    if min_score is not None:
        body["min_score"] = min_score
    with calling(endpoint) as client:
        found = client.post(f"{ROOT}/{base}/search", body).json()["data"]
    if json:
        print_json(found)
        return
    rows = [
        (
            f"{one['score']:.3f}",
            one["document_name"],
            one["place"] or " > ".join(one["headings"]),
            _line(one["text"], 120),
        )
        for one in found
    ]
    print_table(("score", "document", "place", "text"), rows)


@app.command
def bench(
    base: str, questions: Path, *, limit: int | None = None, endpoint: EndpointFlags = HERE, json: bool = False
) -> None:
    """Measure how well a base answers, each way of retrieval beside the others.

    Parameters
    ----------
    base
        The base's id.
    questions
        JSON lines of {"question": …, "documents": [names or ids that answer it], "kind": …}.
    limit
        The first so many questions alone.
    endpoint
        Whose.
    json
        Print JSON.
    """
    if not questions.is_file():
        raise SetupFault(f"{questions} is no file.")
    try:
        cases = [msgspec.json.decode(line) for line in questions.read_bytes().splitlines() if line.strip()]
    except msgspec.DecodeError as exc:
        raise SetupFault(f"{questions} is not JSON lines: {exc}.") from None
    if not cases:
        raise SetupFault(f"{questions} has no question.")
    with calling(endpoint) as client:
        found = _measure(client, base, cases[:limit])
    if json:
        print_json(found)
        return
    measures = ("hit_at_1", "hit_at_5", "hit_at_10", "mrr", "ndcg_at_10")
    rows = [(way, *(f"{one[name]:.3f}" for name in measures)) for way, one in found.items()]
    print_table(("way", "hit@1", "hit@5", "hit@10", "MRR", "nDCG@10"), rows)
    last = list(found.values())[-1]
    for one in last["misses"]:
        print(f"missed: {one['question']} (wanted {', '.join(one['wanted'])}; found {', '.join(one['found'])})", file=sys.stderr)  # fmt: skip


def _line(text: str, most: int) -> str:
    """The beginning of a text on one line."""
    return " ".join(text.split())[:most]


def _measure(client: Client, base: str, cases: list[Any]) -> dict[str, Any]:
    """The questions in portions, since a call is answered in time or not at all; told as of one set."""
    # imported here: no other command needs it
    from steelyard.knowledge.quality import Quality, join

    parts: dict[str, list[Quality]] = {}
    for start in range(0, len(cases), PORTION):
        told = client.post(f"{ROOT}/{base}/bench", {"cases": cases[start : start + PORTION]}).json()["data"]
        for way, one in told.items():
            parts.setdefault(way, []).append(msgspec.convert(one, Quality))
    return {way: msgspec.to_builtins(join(some)) for way, some in parts.items()}


def _print(made: dict[str, Any], line: str, *, json: bool) -> None:
    if json:
        print_json(made)
    else:
        print(line)
