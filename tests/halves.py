"""The default suite in two halves side by side, for it mostly waits: what is told of the second stands behind the first.

Exits with 1 where either failed. `pytest` alone runs everything in one go.
"""

import subprocess
import sys
import tempfile

#: What needs no server of ours; it has long ended when the first half comes to what is timed.
SECOND = ("tests/unit", "tests/golden", "tests/promql", "tests/conformance")
FIRST = ("tests/clients", "tests/e2e/console", "tests/e2e")
PYTEST = (sys.executable, "-m", "pytest")


def main() -> int:
    with tempfile.TemporaryFile() as told:
        second = subprocess.Popen([*PYTEST, *SECOND], stdout=told, stderr=subprocess.STDOUT)
        try:
            first = subprocess.run([*PYTEST, *FIRST]).returncode
            code = second.wait()
        finally:
            second.terminate()
            second.wait()
        told.seek(0)
        sys.stdout.flush()
        sys.stdout.buffer.write(told.read())
        sys.stdout.flush()
    return 1 if first or code else 0


if __name__ == "__main__":
    sys.exit(main())
