"""The mock upstream: answers plain calls at once and streams of 64 chunks 10 ms apart, as cheaply as Python can."""

import argparse
import asyncio
import json

import httptools
import uvloop

CHUNKS = 64
GAP_S = 0.01
_USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 64,
    "total_tokens": 84,
    "prompt_tokens_details": {"cached_tokens": 0},
}
_TEXT = "The quick brown fox jumps over the lazy dog. " * 6
PLAIN_BODY = json.dumps(
    {
        "id": "chatcmpl-mock",
        "object": "chat.completion",
        "created": 1770000000,
        "model": "mock",
        "system_fingerprint": None,
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": _TEXT}, "logprobs": None, "finish_reason": "stop"}
        ],
        "usage": _USAGE,
    }
).encode()
PLAIN = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(PLAIN_BODY),
    PLAIN_BODY,
)
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def _event(delta: dict[str, str], finish: str | None = None, usage: dict | None = None) -> bytes:
    choices = [] if usage else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
    body = {
        "id": "chatcmpl-mock",
        "object": "chat.completion.chunk",
        "created": 1770000000,
        "model": "mock",
        "choices": choices,
        "usage": usage,
    }
    data = b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


CHUNK = _event({"content": "token "})
TAIL = _event({"content": ""}, "stop") + _event({}, None, _USAGE) + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


class Mock(asyncio.Protocol):
    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.loop = asyncio.get_running_loop()
        self.is_stream = False

    def connection_made(self, transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        if b'"stream":true' in body or b'"stream": true' in body:
            self.is_stream = True

    def on_message_complete(self) -> None:
        if not self.is_stream:
            self.transport.write(PLAIN)
            return
        self.is_stream = False
        self.transport.write(STREAM_HEAD)
        self.tick(CHUNKS)

    def tick(self, left: int) -> None:
        if self.transport.is_closing():
            return
        if left:
            self.transport.write(CHUNK)
            self.loop.call_later(GAP_S, self.tick, left - 1)
        else:
            self.transport.write(TAIL)


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Mock, "127.0.0.1", port, backlog=2048)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, required=True)
    uvloop.run(main(arguments.parse_args().port))
