"""The child process of the workshop: one job from standard input, under limits, then it is gone.

A line of JSON in: `{"job": …, "out": directory, …}`. Lines out: `{"progress": 0.3}` and at last `{"done": …}` or `{"error": …}`.
"""

import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

MEMORY_BYTES = 3 * 1024**3
CPU_S = 600
FILE_BYTES = 1024**3
NICENESS = 10


def _say(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _die_with_parent() -> None:
    """Where the kernel can, it ends us when the worker is gone; elsewhere the limits do."""
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


def _poster(asked: dict[str, Any], out: Path) -> dict[str, Any]:
    from steelyard.engines import pictures, poster

    kind = asked["image_format"]
    files = []
    for number in range(asked["n"]):
        seed = asked.get("seed")
        # picture i has the seed i higher, as the vendor does it
        one = poster.compose({**asked, "seed": number if seed is None else seed + number})
        path = out / f"{number}.{kind}"
        pictures.save(one, path, kind)
        files.append(str(path))
        _say(progress=(number + 1) / asked["n"])
    return {"files": files, "width": one.width, "height": one.height}


def _film(asked: dict[str, Any], out: Path) -> dict[str, Any]:
    from steelyard.engines import camera

    path = out / "film.mp4"
    made = camera.film(asked, path, lambda share: _say(progress=share))
    return {"files": [str(path)], **made}


def _describe(asked: dict[str, Any], _out: Path) -> dict[str, Any]:
    from steelyard.engines import pictures

    return pictures.describe(asked["path"])


JOBS: dict[str, Callable[[dict[str, Any], Path], dict[str, Any]]] = {
    "poster": _poster,
    "film": _film,
    "describe": _describe,
}


def main() -> None:
    """Does the job."""
    _die_with_parent()
    asked = json.loads(sys.stdin.readline())
    _limit()
    from steelyard.engines.pictures import PictureError

    try:
        _say(done=JOBS[asked["job"]](asked, Path(asked["out"])))
    except PictureError as exc:
        _say(error=str(exc), kind="picture")
    except ModuleNotFoundError as exc:
        _say(error=f"{exc.name} is not installed", kind="missing")
    except MemoryError:
        _say(error="the job took more memory than it may", kind="limit")
    except OSError as exc:
        _say(error=exc.strerror or str(exc), kind="disk")


if __name__ == "__main__":
    main()
