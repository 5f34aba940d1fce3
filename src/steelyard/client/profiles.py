"""Profiles: a vendor's endpoint and key under a name, in a 0600 file of the user. The key is never shown again."""

import os
import re
from pathlib import Path

import msgspec

from steelyard.base.errors import SetupFault

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Profile(msgspec.Struct, frozen=True):
    """One endpoint."""

    base_url: str
    api_key: str


class Profiles(msgspec.Struct):
    """The file's content."""

    active: str | None = None
    profiles: dict[str, Profile] = {}


def load_profiles(directory: Path) -> Profiles:
    """Reads the file; empty where there is none.

    Raises:
        SetupFault: it cannot be read.
    """
    path = directory / "profiles.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Profiles)
    except FileNotFoundError:
        return Profiles()
    except (OSError, msgspec.DecodeError) as exc:
        raise SetupFault(f"{path} cannot be read: {exc}.") from None


def save_profiles(directory: Path, profiles: Profiles) -> None:
    """Writes the file, readable by its owner alone."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = directory / "profiles.json"
    unfinished = path.with_suffix(".new")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(profiles)))
    unfinished.replace(path)


def check_name(name: str) -> None:
    """Raises `SetupFault` for a name that cannot be typed easily."""
    if not _NAME.fullmatch(name):
        raise SetupFault("A profile's name has letters, digits, dots, hyphens and underscores.")
