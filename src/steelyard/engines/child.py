"""What every child process that works on strangers' files has in common: limits, one job from standard input, lines of JSON out.

A line in: `{"job": …, "out": directory, …}`, with `memory_bytes` and `cpu_s` where a job may take more than others. Lines out: `{"progress": 0.3}` and at last `{"done": …}` or `{"error": …, "kind": …}`.
"""

import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

MEMORY_BYTES = 3 * 1024**3
CPU_S = 600
FILE_BYTES = 1024**3
NICENESS = 10

#: (what is asked, the directory for files) -> what is told
ChildJob = Callable[[dict[str, Any], Path], dict[str, Any]]


class JobError(Exception):
    """A job cannot be done; its text is for people.

    Args:
        kind: see `workshop.WorkshopError`.
    """

    kind = "input"


#: The parent's pipe. Native libraries write to what they take for the terminal: that leads nowhere.
_parent = os.fdopen(os.dup(1), "w")


def say(**what: Any) -> None:
    """A line to the parent."""
    _parent.write(json.dumps(what) + "\n")
    _parent.flush()


def _mute() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _die_with_parent() -> None:
    """Where the kernel can, it ends us when the parent is gone; elsewhere the limits do."""
    import ctypes

    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    except (OSError, AttributeError):
        return


def _limit(memory_bytes: int, cpu_s: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(NICENESS)


def serve(jobs: Mapping[str, ChildJob]) -> None:
    """Does one job, and the process is done."""
    _die_with_parent()
    _mute()
    asked = json.loads(sys.stdin.readline())
    _limit(asked.get("memory_bytes", MEMORY_BYTES), asked.get("cpu_s", CPU_S))
    try:
        say(done=jobs[asked["job"]](asked, Path(asked["out"])))
    except JobError as exc:
        say(error=str(exc), kind=exc.kind)
    except ModuleNotFoundError as exc:
        say(error=f"{exc.name} is not installed", kind="missing")
    except MemoryError:
        say(error="the job took more memory than it may", kind="limit")
    except OSError as exc:
        say(error=exc.strerror or str(exc), kind="disk")
