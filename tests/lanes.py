"""The default suite: two lanes side by side, one a core, then alone what looks at how long something takes.

Exits with 1 where any failed. `pytest` alone runs everything in one go.
"""

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


def main() -> int:
    """The exit code."""
    began = time.monotonic()
    first_paths, second_paths, timed_paths = lanes()
    with tempfile.TemporaryFile() as told:
        first = subprocess.Popen([*PYTEST, *first_paths], stdout=told, stderr=subprocess.STDOUT)
        try:
            codes = [subprocess.run([*PYTEST, *second_paths]).returncode, first.wait()]
        finally:
            first.terminate()
            first.wait()
        told.seek(0)
        sys.stdout.flush()
        sys.stdout.buffer.write(told.read())
        print(f"both lanes: {time.monotonic() - began:.0f} s", flush=True)
    codes.append(subprocess.run([*PYTEST, *timed_paths]).returncode)
    print(f"all: {time.monotonic() - began:.0f} s", flush=True)
    return 1 if any(codes) else 0


if __name__ == "__main__":
    sys.exit(main())
