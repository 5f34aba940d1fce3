"""The load generator: closed loop over N connections, or open loop at a rate. Bounded in count and in time.

Open loop: calls are due at fixed times whatever the server does, and latency counts from when a call was due, so that
a server that stalls cannot hide it.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import deque

import httptools
import uvloop

MAX_RUN_S = 120.0


MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "Write a haiku about scales and weights, please."},
]


def openai_call(model: str, is_stream: bool) -> tuple[str, dict, str]:
    more = {"stream": True, "stream_options": {"include_usage": True}} if is_stream else {}
    return "/v1/chat/completions", {"model": model, "messages": MESSAGES, **more}, ""


def dashscope_call(model: str, is_stream: bool) -> tuple[str, dict, str]:
    parameters = {"result_format": "message", **({"incremental_output": True} if is_stream else {})}
    body = {"model": model, "input": {"messages": MESSAGES}, "parameters": parameters}
    header = "X-DashScope-SSE: enable\r\n" if is_stream else ""
    return "/api/v1/services/aigc/text-generation/generation", body, header


def anthropic_call(model: str, is_stream: bool) -> tuple[str, dict, str]:
    system, user = MESSAGES
    body = {"model": model, "max_tokens": 1000, "system": system["content"], "messages": [user]}
    return "/v1/messages", {**body, **({"stream": True} if is_stream else {})}, ""


APIS = {"openai": openai_call, "dashscope": dashscope_call, "anthropic": anthropic_call}


def request(port: int, key: str, model: str, is_stream: bool, api: str) -> bytes:
    path, body, header = APIS[api](model, is_stream)
    data = json.dumps(body, separators=(",", ":")).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n{header}"
        f"Content-Type: application/json\r\nAccept: application/json\r\nUser-Agent: bench\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


class Client(asyncio.Protocol):
    """One connection; tells the run when an answer is whole."""

    def __init__(self, run: "Run") -> None:
        self.run = run
        self.parser = httptools.HttpResponseParser(self)
        self.started = 0.0
        self.first = 0.0

    def connection_made(self, transport) -> None:
        self.transport = transport

    def connection_lost(self, exc) -> None:
        if self.started:
            self.run.errors += 1
            self.run.done(self, 0.0, 0.0)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def send(self, started: float) -> None:
        self.started, self.first = started, 0.0
        self.transport.write(self.run.request)

    def on_body(self, body: bytes) -> None:
        if not self.first:
            self.first = time.perf_counter()

    def on_message_complete(self) -> None:
        if self.parser.get_status_code() != 200:
            self.run.errors += 1
        started, self.started = self.started, 0.0
        self.run.done(self, time.perf_counter() - started, self.first - started)


class Run:
    def __init__(self, data: bytes, total: int) -> None:
        self.request = data
        self.total = total
        self.sent = 0
        self.finished = 0
        self.errors = 0
        self.latencies: list[float] = []
        self.firsts: list[float] = []
        self.idle: deque[Client] = deque()
        self.due: deque[float] = deque()
        self.is_open_loop = False
        self.complete = asyncio.get_running_loop().create_future()

    def done(self, client: Client, latency: float, first: float) -> None:
        self.finished += 1
        self.latencies.append(latency)
        self.firsts.append(first)
        if self.finished >= self.total:
            if not self.complete.done():
                self.complete.set_result(None)
        elif self.is_open_loop:
            if self.due:
                client.send(self.due.popleft())
            else:
                self.idle.append(client)
        elif self.sent < self.total and not client.transport.is_closing():
            self.sent += 1
            client.send(time.perf_counter())

    async def open_loop(self, rate: float) -> None:
        self.is_open_loop = True
        await asyncio.to_thread(self._pace, asyncio.get_running_loop(), rate)

    def _pace(self, loop: asyncio.AbstractEventLoop, rate: float) -> None:
        """Says when calls are due, in a thread: the loop's timers know whole milliseconds alone, and would send calls early and in pairs."""
        began = time.perf_counter()
        for number in range(self.total):
            due = began + number / rate
            delay = due - time.perf_counter()
            if delay > 0:
                time.sleep(delay)
            loop.call_soon_threadsafe(self._is_due, due)

    def _is_due(self, due: float) -> None:
        if self.idle:
            self.idle.pop().send(due)
        else:
            self.due.append(due)


def quantile(values: list[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * q), len(ordered) - 1)]


async def main(args: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    run = Run(request(args.port, args.key, args.model, args.stream, args.api), args.total)
    clients = []
    for _ in range(args.connections):
        _, client = await loop.create_connection(lambda: Client(run), "127.0.0.1", args.port)
        clients.append(client)
    began = time.perf_counter()
    async with asyncio.timeout(MAX_RUN_S):
        if args.rate:
            run.idle.extend(clients)
            await run.open_loop(args.rate)
        else:
            for client in clients[: args.total]:
                run.sent += 1
                client.send(time.perf_counter())
        await run.complete
    took = time.perf_counter() - began
    for client in clients:
        client.started = 0.0
        client.transport.close()
    json.dump(
        {
            "calls": run.finished,
            "errors": run.errors,
            "seconds": took,
            "p50_ms": quantile(run.latencies, 0.5) * 1e3,
            "p99_ms": quantile(run.latencies, 0.99) * 1e3,
            "first_p50_ms": quantile(run.firsts, 0.5) * 1e3,
            "first_p99_ms": quantile(run.firsts, 0.99) * 1e3,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key", default="none")
    parser.add_argument("--model", default="mock")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--total", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--api", choices=sorted(APIS), default="openai")
    uvloop.run(main(parser.parse_args()))
