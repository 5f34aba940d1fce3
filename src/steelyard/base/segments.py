"""How the gateways' journal segments are named, and whose they are: writers, carrier and leases must agree."""

import os
import secrets
from pathlib import Path

SUFFIX = ".jsonl"


def stem_of(boot_id: str, pid: int) -> str:
    """What all segments of one process begin with."""
    return f"{boot_id}-{pid}"


def segment_name(stem: str, number: int) -> str:
    """The file name of a process's segment."""
    return f"{stem}-{number:06}{SUFFIX}"


def owner_of(machine: str, stem: str) -> str:
    """The name under which a process has leases."""
    return f"{machine}.{stem}"


def get_machine_id(data_dir: Path) -> str:
    """Tells this machine's processes from those of others on the same database; made once."""
    path = data_dir / "machine.id"
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        made = secrets.token_hex(4)
        # two processes may make it at once: the one that links it first has made it
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(made)
        try:
            os.link(draft, path)
        except FileExistsError:
            made = path.read_text().strip()
        draft.unlink()
        return made
