"""Tokens per second of the embedded model through the whole server, against the bare engine on the same slots."""

import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from bench import peers

STREAMS = 8
TOKENS = 64
SLOTS = 4


def _prompt(number: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"Write a long story about the number {number}."}]


async def _drive(url: str, headers: dict[str, str], client: httpx.AsyncClient, model: str) -> float:
    """Tokens per second over all streams."""
    gate = asyncio.Semaphore(SLOTS)

    async def one(number: int) -> int:
        body = {"model": model, "messages": _prompt(number), "max_tokens": TOKENS, "seed": number, "temperature": 0}
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        async with gate, client.stream("POST", url, json=body, headers=headers) as answer:
            tokens = 0
            async for line in answer.aiter_lines():
                if line.startswith("data: {") and (usage := json.loads(line[6:]).get("usage")):
                    tokens = usage["completion_tokens"]
            return tokens

    await one(99)
    began = time.perf_counter()
    tokens = sum(await asyncio.gather(*(one(number) for number in range(STREAMS))))
    return tokens / (time.perf_counter() - began)


def _bare(socket_path: str, ready: "multiprocessing.Queue[str]") -> None:
    from steelyard.config import load_settings
    from steelyard.engines import llama
    from steelyard.engines.catalogue import QWEN_CODER_05B
    from steelyard.engines.weights import weights_path

    models_dir = Path(load_settings().models_dir)
    loaded = llama.load(
        QWEN_CODER_05B,
        weights_path(models_dir, QWEN_CODER_05B),
        Path(socket_path),
        slots=SLOTS,
        threads=llama.default_threads(),
    )
    ready.put(loaded.secret)
    time.sleep(600)


async def _bare_rate(socket_path: str, secret: str) -> float:
    transport = httpx.AsyncHTTPTransport(uds=socket_path)
    async with httpx.AsyncClient(transport=transport, timeout=300) as client:
        url = "http://engine/v1/chat/completions"
        return await _drive(url, {"Authorization": f"Bearer {secret}"}, client, "m")


async def _served_rate(port: int, key: str) -> float:
    async with httpx.AsyncClient(timeout=300) as client:
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        return await _drive(url, {"Authorization": f"Bearer {key}"}, client, "qwen-plus")


def compare() -> str:
    os.environ["OMP_WAIT_POLICY"] = "passive"
    with tempfile.TemporaryDirectory() as name:
        context = multiprocessing.get_context("spawn")
        ready: multiprocessing.Queue[str] = context.Queue()
        process = context.Process(target=_bare, args=(f"{name}/bare.sock", ready), daemon=True)
        process.start()
        bare = asyncio.run(_bare_rate(f"{name}/bare.sock", ready.get(timeout=120)))
        process.kill()
        process.join()
        directory = Path(name)
        environment = {**os.environ, "STEELYARD_DATA_DIR": f"{name}/data"}
        command = [sys.executable, "-m", "steelyard.cli"]
        subprocess.run([*command, "activate"], check=True, env=environment, cwd=directory, stdout=subprocess.DEVNULL)
        made = subprocess.run(
            [*command, "keys", "create", "--name", "b", "--json"],
            check=True,
            env=environment,
            cwd=directory,
            capture_output=True,
        )
        port = peers.free_port()
        with peers.process([*command, "serve", "--port", str(port)], env=environment, cwd=directory):
            peers.wait_ready(port)
            served = asyncio.run(_served_rate(port, json.loads(made.stdout)["key"]))
    return f"Embedded model, {SLOTS} slots: bare engine {bare:.1f} tokens/s, through the server {served:.1f} ({served / bare:.0%})."
