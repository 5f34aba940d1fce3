"""The code that the console gives out runs as pasted: curl, both Python SDKs and Node, for whatever the playground tries."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from installation import ROOT, Served
from steelyard.web.console.code import Call, code_of
from steelyard.web.console.modes import CHAT, EMBEDDINGS, IMAGES, RERANK, Mode

CLIENTS = ROOT / ".clients"
NODE = Path(__file__).parent / "node"
AWKWARD = 'it\'s a "test" with `ticks`, a \\ and 杆秤'
CALLS: tuple[tuple[Mode, dict[str, Any], str], ...] = (
    (CHAT, {"model": "priced", "messages": [{"role": "user", "content": AWKWARD}], "temperature": 0.5}, "Hello from"),
    (EMBEDDINGS, {"model": "local/multilingual-e5-small", "input": [AWKWARD, "scales"]}, "0."),
    (
        RERANK,
        {"model": "local/fusion-rerank", "query": AWKWARD, "documents": ["天平", "rain"], "top_n": 1},
        "relevance",
    ),
    (IMAGES, {"model": "local/poster", "prompt": AWKWARD, "n": 1, "size": "512x512"}, "http://127.0.0.1"),
)


def _run(language: str, code: str, directory: Path) -> str:
    """What a person does: paste it into a file, or a shell, and run it."""
    file, words = {
        "curl": ("call.sh", ["bash", "call.sh"]),
        "Python · openai": ("call.py", [str(CLIENTS / "bin/python"), "call.py"]),
        "Python · dashscope": ("native.py", [str(CLIENTS / "bin/python"), "native.py"]),
        "Node": ("call.mjs", [_node(), "call.mjs"]),
    }[language]
    (directory / file).write_text(code)
    clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(words, cwd=directory, env=clean, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _node() -> str:
    return shutil.which("node") or str(CLIENTS / "bin/node")


@pytest.mark.parametrize(("mode", "body", "told"), CALLS, ids=lambda one: getattr(one, "name", ""))
def test_code_runs(mode: Mode, body: dict[str, Any], told: str, served: Served, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(NODE / "node_modules")
    codes = dict(code_of(Call(mode, body, served.origin, served.key)))
    for language in ("curl", "Python · openai", "Python · dashscope", "Node"):
        assert told in _run(language, codes[language], tmp_path), language
