"""The fake vendor's server, on bare asyncio so that it can cut, drip and stall at any byte.

GET /_seen tells the calls so far: path, headers, body, and how each connection ended. GET /_totals tells the tokens of the
answers that went out whole, by request id. With --fail-rate a share of calls without a script of their own fails in one of the
ways of --fail-modes, drawn from a seeded generator.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import functools
import json
import random
from collections.abc import Callable
from typing import Any

import msgspec

from upstream import messages, native, vectors
from upstream.answers import counted_pieces, events, usage_of, whole
from upstream.script import Script

SEEN_LIMIT = 500


#: The ways of failing that --fail-rate draws from.
FAILURES = {
    "429": Script(status=429, headers={"retry-after": "1"}),
    "500": Script(status=500),
    "503": Script(status=503),
    "cut": Script(hang_up=True),
    "timeout": Script(delay_s=30.0),
}
MODELS = {
    "object": "list",
    "data": [{"id": name, "object": "model", "created": 1, "owned_by": "fake"} for name in ("fake", "fake-large")],
}

NATIVE_MODELS = {
    "output": {"total": 2, "page_no": 1, "page_size": 10, "models": [{"model": "fake"}, {"model": "fake-large"}]},
    "request_id": native.ID,
}


@dataclasses.dataclass
class Face:
    """One of the APIs that the vendor speaks."""

    asked: dict[str, Any]
    is_stream: bool
    whole: Callable[[Script], bytes]
    events: Callable[[Script], list[bytes]]
    error: dict[str, Any]


#: Operations without streams: how a path ends -> (what answers, is its envelope the native one)
WHOLE: dict[str, tuple[Callable[[Script, dict[str, Any]], bytes], bool]] = {
    "/embeddings": (vectors.openai_embeddings, False),
    "/rerank": (vectors.openai_ranks, False),
    "/text-embedding": (vectors.native_embeddings, True),
    "/multimodal-embedding": (vectors.native_embeddings, True),
    "/text-rerank": (vectors.native_ranks, True),
    "/tokenizer": (vectors.native_tokens, True),
    "/count_tokens": (vectors.counted_tokens, False),
}


def _answer_with(answer: Callable[[Script, dict[str, Any]], bytes], body: dict[str, Any], script: Script) -> bytes:
    return answer(script, body)


def face_of(path: str, headers: dict[str, str], body: dict[str, Any]) -> Face:
    for end, (answer, is_native) in WHOLE.items():
        if path.endswith(end):
            error: dict[str, Any] = {"error": {"message": "scripted", "type": "t", "code": "c"}}
            if is_native:
                error = {"code": "c", "message": "scripted", "request_id": native.ID}
            return Face({"messages": []}, False, functools.partial(_answer_with, answer, body), lambda _: [], error)
    if path.endswith("/generation"):
        is_multimodal = "multimodal" in path
        return Face(
            native.flat(body),
            headers.get("x-dashscope-sse") == "enable",
            lambda script: native.whole(script, body, is_multimodal),
            lambda script: native.events(script, body, is_multimodal),
            {"code": "c", "message": "scripted", "request_id": native.ID},
        )
    if path.endswith("/v1/messages"):
        return Face(
            body,
            bool(body.get("stream")),
            lambda script: messages.whole(script, body),
            lambda script: messages.events(script, body),
            {"type": "error", "error": {"type": "t", "message": "scripted"}},
        )
    is_chat = path.endswith("/chat/completions")
    return Face(
        body,
        bool(body.get("stream")),
        lambda script: whole(script, body, is_chat),
        lambda script: events(script, body, is_chat),
        {"error": {"message": "scripted", "type": "t", "code": "c"}},
    )


class FakeVendor:
    """Answers calls as each one scripts."""

    def __init__(self, fail_rate: float = 0.0, fail_modes: tuple[str, ...] = (), latency_s: float = 0.0) -> None:
        self._fail_rate = fail_rate
        self._fail_modes = fail_modes
        self._latency_s = latency_s
        self._random = random.Random(8090)
        self.calls = 0
        self.failed = 0
        #: tokens of answers that went out whole, by the gateway's request id
        self.finished: dict[str, list[int]] = {}
        self.seen: list[dict[str, Any]] = []
        self._sequences: dict[str, int] = {}
        self.open_calls = 0
        self.moderated: list[dict[str, Any]] = []

    async def serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while await self._serve_one(reader, writer):
                pass
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        request, *lines = head.decode().split("\r\n")
        method, path, _ = request.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        data = await reader.readexactly(int(headers.get("content-length", 0)))
        if path == "/_seen":
            body = json.dumps({"calls": self.seen, "open": self.open_calls, "moderated": self.moderated}).encode()
            await _send(writer, 200, {"content-type": "application/json"}, body)
            return True
        if path == "/_totals":
            totals = {"calls": self.calls, "failed": self.failed, "finished": self.finished}
            await _send(writer, 200, {"content-type": "application/json"}, json.dumps(totals).encode())
            return True
        if path == "/_rate":
            # heals or harms it while it runs
            self._fail_rate = float(data)
            await _send(writer, 200, {}, b"")
            return True
        if method == "GET" and (path.startswith(("/api/v1/tasks/", "/results/"))):
            await self._task(path, headers, writer)
            return True
        if method == "GET":
            listed = NATIVE_MODELS if path.startswith("/api/v1/") else MODELS
            await _send(writer, 200, {"content-type": "application/json"}, json.dumps(listed).encode())
            return True
        if path.endswith("/moderations"):
            return await self._moderate(json.loads(data), headers, writer)
        self.calls += 1
        body = json.loads(data)
        entry = {"method": method, "path": path, "headers": headers, "body": body, "end": "open"}
        self.seen = [*self.seen[-SEEN_LIMIT:], entry]
        self.open_calls += 1
        try:
            goes_on = await self._answer(self._script(body), path, headers, body, writer, entry, reader)
            entry["end"] = "complete" if goes_on else "cut"
            if (usage := entry.get("usage")) is not None and goes_on:
                counted = [usage["prompt_tokens"], usage["completion_tokens"]]
                self.finished[headers.get("x-request-id", "")] = counted
            return goes_on
        except (ConnectionError, asyncio.CancelledError):
            entry["end"] = "client left"
            raise
        finally:
            self.open_calls -= 1

    async def _task(self, path: str, headers: dict[str, str], writer: asyncio.StreamWriter) -> None:
        """`good-…` succeeds when it is asked about a second time, `bad-…` fails, others are unknown; results are files."""
        name = path.rsplit("/", 1)[1].partition("?")[0]
        if path.startswith("/results/"):
            is_gone = name.startswith("gone") or "authorization" in headers
            kind = {"content-type": "image/png"}
            await _send(writer, 403 if is_gone else 200, kind, b"<Error/>" if is_gone else b"PNG" * 1000)
            return
        self._sequences[name] = self._sequences.get(name, 0) + 1
        output: dict[str, Any] = {"task_id": name, "task_status": "UNKNOWN"}
        if name.startswith("good"):
            output["task_status"] = "SUCCEEDED" if self._sequences[name] > 1 else "RUNNING"
            output["results"] = [{"url": f"http://x/results/{name}.png"}]
        elif name.startswith("bad"):
            output |= {"task_status": "FAILED", "code": "DataInspectionFailed", "message": "inappropriate content"}
        body = {"request_id": native.ID, "output": output, "usage": {"image_count": 1}}
        await _send(writer, 200, {"content-type": "application/json"}, json.dumps(body).encode())

    async def _moderate(self, body: dict[str, Any], headers: dict[str, str], writer: asyncio.StreamWriter) -> bool:
        """Flags `forbidden`; `stall` is never answered, `crash` wrongly."""
        text = body["input"]
        self.moderated.append({"text": text, "model": body.get("model"), "authorization": headers.get("authorization")})
        if "stall" in text:
            await asyncio.sleep(3)
            return False
        await asyncio.sleep(0.02)
        answer = {"id": "m", "results": [{"flagged": "forbidden" in text}]}
        status = 500 if "crash" in text else 200
        await _send(writer, status, {"content-type": "application/json"}, json.dumps(answer).encode())
        return True

    def _script(self, body: dict[str, Any]) -> Script:
        asked = body.get("script") or (body.get("parameters") or {}).get("script")
        script = msgspec.convert(asked or {}, Script)
        if script.then:
            script = _round(script, body.get("messages") or [])
        if script.sequence:
            number = self._sequences.get(script.sequence_id, 0)
            self._sequences[script.sequence_id] = number + 1
            return script.sequence[min(number, len(script.sequence) - 1)]
        if asked is None and self._fail_rate and self._random.random() < self._fail_rate:
            self.failed += 1
            return FAILURES[self._random.choice(self._fail_modes or tuple(FAILURES))]
        if not script.delay_s and self._latency_s:
            return msgspec.structs.replace(script, delay_s=self._latency_s)
        return script

    async def _answer(
        self,
        script: Script,
        path: str,
        headers: dict[str, str],
        body: dict[str, Any],
        writer: asyncio.StreamWriter,
        entry: dict[str, Any],
        reader: asyncio.StreamReader,
    ) -> bool:
        face = face_of(path, headers, body)
        if script.delay_s and await _left(reader, script.delay_s):
            raise ConnectionResetError
        if script.hang_up:
            writer.transport.abort()
            return False
        entry["usage"] = usage_of(script, counted_pieces(script, face.asked))
        if script.status != 200 or script.error is not None:
            del entry["usage"]
            error = script.error if script.error is not None else face.error
            data = error.encode() if isinstance(error, str) else json.dumps(error).encode()
            await _send(writer, script.status, {"content-type": "application/json", **script.headers}, data)
            return True
        if not face.is_stream:
            data = face.whole(script)
            headers = {"content-type": "application/json", **script.headers}
            if script.cut_at >= 0:
                await _send(writer, 200, headers, data, cut_at=script.cut_at)
                return False
            await _send(writer, 200, headers, data, drip_s=script.drip_s)
            return True
        return await self._stream(script, face.events(script), writer, reader)

    async def _stream(
        self, script: Script, framed: list[bytes], writer: asyncio.StreamWriter, reader: asyncio.StreamReader
    ) -> bool:
        content_type = script.content_type or "text/event-stream;charset=UTF-8"
        head = f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n"
        writer.write(head.encode())
        sent = 0
        for event in framed:
            pieces = [event] if script.drip_s < 0 else [event[i : i + 1] for i in range(len(event))]
            for piece in pieces:
                if 0 <= script.cut_at < sent + len(piece):
                    part = piece[: script.cut_at - sent]
                    writer.write(b"%x\r\n%b\r\n" % (len(part), part) if part else b"")
                    await writer.drain()
                    writer.transport.abort()
                    return False
                sent += len(piece)
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
                if script.drip_s > 0:
                    await asyncio.sleep(script.drip_s)
            if script.gap_s and await _left(reader, script.gap_s):
                raise ConnectionResetError
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


def _round(script: Script, messages: list[dict[str, Any]]) -> Script:
    """What is scripted for a round of calls, its text filled in."""
    asked = [number for number, one in enumerate(messages) if one["role"] == "user"]
    since = messages[asked[-1] :] if asked else messages
    rounds = sum(1 for one in since if one.get("tool_calls"))
    chosen = [script, *script.then][min(rounds, len(script.then))]
    tools = [one["content"] for one in since if one["role"] == "tool"]
    user = messages[asked[-1]]["content"] if asked else ""
    text = chosen.text.replace("{tool}", " ".join(tools)).replace("{user}", user if isinstance(user, str) else "")
    calls = [
        (name, arguments.replace("{user}", user if isinstance(user, str) else "")) for name, arguments in chosen.calls
    ]
    return msgspec.structs.replace(chosen, text=text, calls=calls, then=[])


async def _left(reader: asyncio.StreamReader, wait_s: float) -> bool:
    """Whether the client leaves within the time."""
    try:
        async with asyncio.timeout(wait_s):
            while not reader.at_eof():
                await reader._wait_for_data("left")
            return True
    except TimeoutError:
        return False


async def _send(
    writer: asyncio.StreamWriter,
    status: int,
    headers: dict[str, str],
    body: bytes,
    *,
    cut_at: int = -1,
    drip_s: float = -1,
) -> None:
    lines = [f"HTTP/1.1 {status} Scripted", *(f"{name}: {value}" for name, value in headers.items())]
    writer.write(("\r\n".join([*lines, f"content-length: {len(body)}"]) + "\r\n\r\n").encode())
    if cut_at >= 0:
        writer.write(body[:cut_at])
        await writer.drain()
        writer.transport.abort()
        return
    if drip_s >= 0:
        for index in range(len(body)):
            writer.write(body[index : index + 1])
            await writer.drain()
            await asyncio.sleep(drip_s)
    else:
        writer.write(body)
    await writer.drain()


async def main(port: int, vendor: FakeVendor) -> None:
    server = await asyncio.start_server(vendor.serve_connection, "127.0.0.1", port, limit=64 * 1024 * 1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--fail-rate", type=float, default=0.0)
    parser.add_argument("--fail-modes", default="")
    parser.add_argument("--latency-s", type=float, default=0.0)
    given = parser.parse_args()
    modes = tuple(mode for mode in given.fail_modes.split(",") if mode)
    asyncio.run(main(given.port, FakeVendor(given.fail_rate, modes, given.latency_s)))
