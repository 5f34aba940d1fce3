"""What every child process that works on strangers' files has in common: limits, one job from standard input, lines of JSON out.

A line in: `{"job": …, "out": directory, …}`. Lines out: `{"progress": 0.3}` and at last `{"done": …}` or `{"error": …, "kind": …}`.
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


def say(**what: Any) -> None:
    """A line to the parent."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _die_with_parent() -> None:
    """Where the kernel can, it ends us when the parent is gone; elsewhere the limits do."""
    import ctypes

    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    except (OSError, AttributeError):
        return


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(NICENESS)


def serve(jobs: Mapping[str, ChildJob]) -> None:
    """Does one job, and the process is done."""
    _die_with_parent()
    asked = json.loads(sys.stdin.readline())
    _limit()
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
