"""The data directory, ready for use."""

import os
from pathlib import Path

from steelyard.base.errors import SetupFault
from steelyard.config import Settings


def prepare_data_dir(settings: Settings) -> None:
    """Makes the data directory.

    Raises:
        SetupFault: it cannot be written.
    """
    path = Path(settings.data_dir)
    try:
        for one in (path, settings.run_dir, settings.journal_dir):
            one.mkdir(parents=True, exist_ok=True, mode=0o700)
            if one == settings.run_dir and (one.is_symlink() or one.stat().st_uid != os.getuid()):
                raise SetupFault(f"The directory {one} belongs to somebody else; remove it or use another --data-dir.")
            one.chmod(0o700)
        # each process has its own: a command may be run while the server starts
        probe = path / f".probe-{os.getpid()}"
        probe.write_bytes(b"x" * 4096)
        probe.unlink()
    except OSError as exc:
        raise SetupFault(
            f"The data directory {path} cannot be written: {exc.strerror}; choose another with --data-dir."
        ) from None
