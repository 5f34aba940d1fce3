"""A disk that fills and an S3 that answers 503: nothing is lost that was acknowledged, and it is said clearly."""

import contextlib
import http.client
import http.server
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from test_tasks import IMAGES, get, image_of, submit, wait

from installation import Installation, Served, free_port


def put(served: Served, data: bytes, name: str = "a.txt") -> httpx.Response:
    files = {"purpose": (None, "file-extract"), "file": (name, data)}
    return httpx.post(served.origin + "/v1/files", headers=served.headers(), files=files, timeout=90)


def content(served: Served, file_id: str) -> httpx.Response:
    return httpx.get(f"{served.origin}/v1/files/{file_id}/content", headers=served.headers(), timeout=90)


def check_unavailable(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.json()["error"]["code"] == "objects_unavailable"
    assert "retry-after" in answer.headers


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root: SKIPPED ALOUD, the full-disk test did not run")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_disk_that_fills(make_installation: Any, small_disk: Path) -> None:
    """The upload that does not fit is refused; a picture waits and is made once there is room; what was there stays whole."""
    installation = make_installation(f'[objects]\nurl = "file://{small_disk}"\n')
    installation.start()
    served = Served(installation)
    kept = os.urandom(2_000_000)
    first = put(served, kept)
    assert first.status_code == 200, first.text
    used = shutil.disk_usage(small_disk).used
    check_unavailable(put(served, os.urandom(12_000_000)))
    # the half-written part goes behind the answer: filled before it is gone, the disk would have room again
    deadline = time.monotonic() + 10
    while shutil.disk_usage(small_disk).used > used:
        assert time.monotonic() < deadline, "what did not fit is still on the disk"
        time.sleep(0.02)
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 65536)
    check_unavailable(put(served, os.urandom(500_000)))
    task_id = submit(served, IMAGES, image_of())
    time.sleep(3)
    assert (
        httpx.get(f"{served.origin}/api/v1/tasks/{task_id}", headers=served.headers()).json()["output"]["task_status"]
        == "RUNNING"
    )
    assert content(served, first.json()["id"]).content == kept
    filler.unlink()
    shown = wait(served, task_id)
    assert shown["output"]["task_status"] == "SUCCEEDED", shown
    assert get(shown["output"]["results"][0]["url"])[:4] == b"\x89PNG"
    assert content(served, first.json()["id"]).content == kept
    assert put(served, b"again").status_code == 200


class Door:
    """In front of the S3 server: it passes everything through, or answers 503."""

    def __init__(self, port: int) -> None:
        self.is_shut = False
        door = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if door.is_shut:
                    status, headers, data = 503, [], b"<Error><Code>SlowDown</Code></Error>"
                else:
                    inner = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                    inner.request(self.command, self.path, body, dict(self.headers))
                    answer = inner.getresponse()
                    status, headers, data = answer.status, answer.getheaders(), answer.read()
                    inner.close()
                self.send_response(status)
                for name, value in headers:
                    if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                        self.send_header(name, value)
                length = {n.lower(): v for n, v in headers}.get("content-length") if self.command == "HEAD" else None
                self.send_header("content-length", length or str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[Door]:
    """A real S3 server, behind a door."""
    ports = [free_port() for _ in range(4)]
    master, volume, filer, port = ports
    command = [
        str(Path(sys.executable).parent / "weed"),
        "server",
        f"-dir={tmp_path}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
    ]
    command += [f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", "-s3", f"-s3.port={port}"]
    command += [
        f"-master.port.grpc={free_port()}",
        f"-volume.port.grpc={free_port()}",
        f"-filer.port.grpc={free_port()}",
    ]
    command += [f"-s3.port.grpc={free_port()}", "-volume.max=10"]
    log = (tmp_path / "weed.log").open("wb")
    process = subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path, start_new_session=True)
    door = Door(port)
    try:
        for _ in range(300):
            try:
                if httpx.put(f"http://127.0.0.1:{port}/bucket", timeout=5).status_code in (200, 409):
                    break
            except httpx.HTTPError:
                pass
            time.sleep(0.2)
        else:
            raise AssertionError((tmp_path / "weed.log").read_text()[-2000:])
        yield door
    finally:
        door.server.shutdown()
        door.server.server_close()
        # it takes half a minute to stop on its own, and nothing of it is needed
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()


def test_an_s3_that_answers_503(make_installation: Any, s3: Door) -> None:
    config = f"""
[objects]
url = "s3://bucket?endpoint=http://127.0.0.1:{s3.port}&region=us-east-1"
access_key_id = "any"
secret_access_key = "any"
"""
    installation: Installation = make_installation(config)
    installation.start()
    served = Served(installation)
    kept = os.urandom(3_000_000)
    first = put(served, kept)
    assert first.status_code == 200, first.text + installation.log_text()[-2000:]
    part = httpx.get(
        f"{served.origin}/v1/files/{first.json()['id']}/content", headers={**served.headers(), "Range": "bytes=5-9"}
    )
    assert (part.status_code, part.content) == (206, kept[5:10])
    s3.is_shut = True
    check_unavailable(put(served, os.urandom(100_000)))
    task_id = submit(served, IMAGES, image_of())
    time.sleep(2)
    s3.is_shut = False
    shown = wait(served, task_id, 90)
    assert shown["output"]["task_status"] == "SUCCEEDED", shown
    assert get(shown["output"]["results"][0]["url"])[:4] == b"\x89PNG"
    assert content(served, first.json()["id"]).content == kept
