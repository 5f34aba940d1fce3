"""Runs `steelyard` commands as the shell would, each in a process of its own, forked from one that has loaded the program already.

A test suite runs commands by the hundred; loading the program takes a second and a half, and a fork a few milliseconds. A command sees
nothing of others: environment, directory, input and output are its own.
"""

import atexit
import importlib
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

#: Loaded by commands when they run, and so loaded here before any.
_LATER = (
    "aiosqlite",
    "sqlalchemy.dialects.sqlite.aiosqlite",
    "steelyard.assembly.app_parts",
    "steelyard.assembly.records",
    "steelyard.control.model_book",
    "steelyard.declared",
    "steelyard.supervisor",
    "steelyard.store.migrations",
)


class CommandLine:
    """One forge for the run."""

    def __init__(self) -> None:
        self._forge: subprocess.Popen[str] | None = None

    def run(self, words: list[str], environment: dict[str, str], directory: Path, text: str | None) -> Any:
        """A command's end: code, output, errors."""
        if self._forge is None or self._forge.poll() is not None:
            self._forge = subprocess.Popen(
                [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self._forge.stdin is not None
        assert self._forge.stdout is not None
        asked = {"words": words, "environment": environment, "directory": str(directory), "text": text}
        self._forge.stdin.write(json.dumps(asked) + "\n")
        self._forge.stdin.flush()
        told = json.loads(self._forge.stdout.readline())
        return subprocess.CompletedProcess(["steelyard", *words], told["code"], told["out"], told["err"])

    def close(self) -> None:
        """Ends the forge."""
        if self._forge is not None:
            self._forge.kill()
            self._forge.wait()
            for pipe in (self._forge.stdin, self._forge.stdout):
                if pipe is not None:
                    pipe.close()


COMMANDS = CommandLine()
atexit.register(COMMANDS.close)


def _forge() -> None:
    """Forks a process for each line on standard input."""
    import steelyard.cli
    from steelyard.cli.__main__ import main

    for module in pkgutil.iter_modules(steelyard.cli.__path__, "steelyard.cli."):
        importlib.import_module(module.name)
    for name in _LATER:
        importlib.import_module(name)
    for line in sys.stdin:
        asked = json.loads(line)
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as inner:
            if asked["text"]:
                inner.write(asked["text"].encode())
                inner.seek(0)
            pid = os.fork()
            if pid == 0:
                _become(asked, inner.fileno(), out.fileno(), err.fileno())
                main()
                sys.stdout.flush()
                sys.exit(0)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode("utf-8", "replace"))
        print(json.dumps({"code": code, "out": texts[0], "err": texts[1]}), flush=True)


def _become(asked: dict[str, Any], inner: int, out: int, err: int) -> None:
    """The child: a command started by a shell."""
    for number, file in enumerate((inner, out, err)):
        os.dup2(file, number)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["directory"])
    sys.argv = ["steelyard", *asked["words"]]


if __name__ == "__main__":
    _forge()
