"""The default suite: two lanes side by side, one a core, then alone what looks at how long something takes.

What failed beside another lane is run again by itself, and told aloud: a browser, a model and a compiler on two cores may be slow
together. Exits with 1 where anything failed by itself. `pytest` alone runs everything in one go.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
PYTEST = (sys.executable, "-m", "pytest")
#: End-to-end tests that look at how long something takes.
TIMED = ("chaos", "hostile", "hygiene", "limits", "prometheus_hostile", "reload", "resilience")
#: Those that go with the first lane, so that both take as long.
FIRST = ("crossings", "plugins", "speech", "vector_engine")
#: More than this is no accident.
MAX_AGAIN = 25
#: Browsers and the vendors' SDKs, and what needs no server of ours.
DIRECTORIES = ("e2e/console", "clients", "unit", "golden", "promql", "conformance")


def is_timed(path: Path) -> bool:
    """Whether a file's tests run alone."""
    return path.parent.name == "e2e" and path.stem.removeprefix("test_") in TIMED


def lanes() -> tuple[list[str], list[str], list[str]]:
    """The paths of both lanes, and of what runs alone."""
    files = {one.stem.removeprefix("test_"): str(one) for one in sorted((HERE / "e2e").glob("test_*.py"))}
    first = [*(str(HERE / one) for one in DIRECTORIES), *(files[name] for name in FIRST)]
    second = [path for name, path in files.items() if name not in (*FIRST, *TIMED)]
    return first, second, [files[name] for name in TIMED]


def with_cache(directory: Path) -> list[str]:
    """A run that notes there what failed."""
    return [*PYTEST, "-o", f"cache_dir={directory}"]


def run_again(code: int, directory: Path) -> int:
    """The exit code of what failed in a lane, by itself; the lane's own where there is too much, or nothing to be run."""
    noted = directory / "v" / "cache" / "lastfailed"
    failed = list(json.loads(noted.read_text())) if code == 1 and noted.exists() else []
    if not 0 < len(failed) <= MAX_AGAIN:
        return code
    again = subprocess.run([*PYTEST, *failed]).returncode
    print(
        f"failed beside the other lane, {'passed' if not again else 'failed'} alone:", *failed, sep="\n  ", flush=True
    )
    return again


def main() -> int:
    """The exit code."""
    began = time.monotonic()
    first_paths, second_paths, timed_paths = lanes()
    with tempfile.TemporaryDirectory() as kept, tempfile.TemporaryFile() as told:
        caches = Path(kept) / "first", Path(kept) / "second"
        first = subprocess.Popen([*with_cache(caches[0]), *first_paths], stdout=told, stderr=subprocess.STDOUT)
        try:
            codes = [0, subprocess.run([*with_cache(caches[1]), *second_paths]).returncode]
            codes[0] = first.wait()
        finally:
            first.terminate()
            first.wait()
        told.seek(0)
        sys.stdout.flush()
        sys.stdout.buffer.write(told.read())
        print(f"both lanes: {time.monotonic() - began:.0f} s", flush=True)
        codes = [run_again(code, cache) for code, cache in zip(codes, caches, strict=True)]
    codes.append(subprocess.run([*PYTEST, *timed_paths]).returncode)
    print(f"all: {time.monotonic() - began:.0f} s", flush=True)
    return 1 if any(codes) else 0


if __name__ == "__main__":
    sys.exit(main())
