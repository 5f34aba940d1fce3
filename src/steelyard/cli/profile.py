"""`steelyard profile`."""

import getpass
import sys

from cyclopts import App

from steelyard.base.errors import SetupFault
from steelyard.base.ids import mask
from steelyard.cli.context import print_json, print_table
from steelyard.client.endpoint import key_problems, normalise_base_url
from steelyard.client.profiles import Profile, check_name, load_profiles, save_profiles
from steelyard.config import get_user_config_dir

app = App(name="profile", help="Profiles keep an endpoint and its key: add, list, use, remove.")


@app.command
def add(name: str, *, base_url: str, api_key: str | None = None) -> None:
    """Keep an endpoint and its key under a name.

    Parameters
    ----------
    name
        The profile's name.
    base_url
        The endpoint, such as https://dashscope.aliyuncs.com/compatible-mode/v1.
    api_key
        The key; without it, it is asked for (or read from standard input) and not shown.
    """
    check_name(name)
    if api_key is None:
        api_key = getpass.getpass("Key: ") if sys.stdin.isatty() else sys.stdin.readline().strip()
    problems = key_problems(api_key, "the input")
    if problems:
        raise SetupFault(problems[0][0])
    directory = get_user_config_dir()
    profiles = load_profiles(directory)
    profiles.profiles[name] = Profile(normalise_base_url(base_url), api_key)
    save_profiles(directory, profiles)
    print(
        f"Profile {name} is kept; use it with --profile {name}, or for everything with `steelyard profile use {name}`."
    )


@app.command(name="list")
def list_profiles(*, json: bool = False) -> None:
    """List profiles; keys are masked."""
    profiles = load_profiles(get_user_config_dir())
    rows = [
        {"name": name, "base_url": one.base_url, "key": mask(one.api_key), "active": name == profiles.active}
        for name, one in sorted(profiles.profiles.items())
    ]
    if json:
        print_json(rows)
    else:
        lines = [(row["name"], row["base_url"], row["key"], "active" if row["active"] else "") for row in rows]
        print_table(("Name", "Base URL", "Key", ""), lines)


@app.command
def use(name: str | None = None, *, none: bool = False) -> None:
    """Make a profile the default of every command, or with --none no profile."""
    directory = get_user_config_dir()
    profiles = load_profiles(directory)
    if not none and name not in profiles.profiles:
        raise SetupFault(f"There is no profile {name!r}; `steelyard profile list` shows them.")
    profiles.active = None if none else name
    save_profiles(directory, profiles)
    print("No profile is in use." if none else f"Profile {name} is in use.")


@app.command
def remove(name: str) -> None:
    """Forget a profile and its key."""
    directory = get_user_config_dir()
    profiles = load_profiles(directory)
    if profiles.profiles.pop(name, None) is None:
        raise SetupFault(f"There is no profile {name!r}; `steelyard profile list` shows them.")
    if profiles.active == name:
        profiles.active = None
    save_profiles(directory, profiles)
    print(f"Profile {name} is gone.")
