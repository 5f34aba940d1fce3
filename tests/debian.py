"""Programs from Debian's packages, unpacked below the project and never installed: no root is needed."""

import shutil
import subprocess
import sys
from pathlib import Path

PEERS = Path(__file__).parent.parent / ".peers"


def find(package: str, program: str) -> Path | None:
    """A program: the machine's own, else the one that `fetch` unpacked."""
    installed = shutil.which(program)
    if installed is not None:
        return Path(installed)
    unpacked = PEERS / package / "usr" / "bin" / program
    return unpacked if unpacked.is_file() else None


def fetch(package: str) -> None:
    """Unpacks a package; what is there already is left alone.

    Raises:
        RuntimeError: it cannot be had here.
    """
    goal = PEERS / package
    if goal.is_dir():
        return
    if shutil.which("apt-get") is None:
        raise RuntimeError(f"{package} comes from Debian's packages, and apt-get is not here")
    work = PEERS / f"{package}.part"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    done = subprocess.run(
        ["apt-get", "download", "-qq", package], cwd=work, capture_output=True, text=True, check=False
    )
    found = next(iter(work.glob("*.deb")), None)
    if done.returncode != 0 or found is None:
        raise RuntimeError(f"{package} cannot be fetched: {done.stderr.strip()[-300:]}")
    subprocess.run(["dpkg-deb", "-x", str(found), str(work / "root")], check=True)
    (work / "root").rename(goal)
    shutil.rmtree(work)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        try:
            fetch(name)
        except RuntimeError as exc:
            print(exc, file=sys.stderr)
