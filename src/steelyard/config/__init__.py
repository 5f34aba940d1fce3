"""The settings tree: file, then environment, then flags; later wins. The only module that reads the environment.

Unknown keys are errors, and all faults are told together, each with its path.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, get_args

import msgspec

from steelyard.base.errors import SetupFault
from steelyard.base.jsondoor import encode
from steelyard.config.checks import check_settings
from steelyard.config.sections import ModelSettings, PluginSettings, Provider
from steelyard.config.settings import Settings as Settings

ENV_PREFIX = "STEELYARD_"
DEFAULT_FILE = "steelyard.toml"
#: Environment names that are not settings of the tree.
_OTHER_ENV = frozenset({"STEELYARD_DATA_DIR", "STEELYARD_MODELS_DIR", "STEELYARD_API_KEY", "STEELYARD_WITHOUT", "STEELYARD_CONFIG",
                        "STEELYARD_PROFILES"})  # fmt: skip


#: The tree's fixed sections; what operators name themselves (providers, models, plugins) is read apart.
_SECTIONS: dict[str, type[msgspec.Struct]] = {
    field.name: field.type
    for field in msgspec.structs.fields(Settings)
    if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct)
}


def load_settings(
    *,
    config_file: Path | None = None,
    data_dir: str | None = None,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Reads the settings.

    Args:
        config_file: `--config`; else `$STEELYARD_CONFIG`, else `./steelyard.toml` if it exists.
        flags: dotted paths to values, as in `{"server.port": 9000}`; None values are left out.

    Raises:
        SetupFault: all faults in one text.
    """
    env = os.environ if environment is None else environment
    tree = _read_file(config_file, env)
    faults: list[str] = []
    _overlay_environment(tree, env)
    for path, value in (flags or {}).items():
        if value is not None:
            _put(tree, path.split("."), value)
    values = _build(tree, faults)
    settings = Settings(data_dir=str(_data_dir(data_dir, env)), models_dir=str(_models_dir(env)), **values)
    faults += check_settings(settings)
    if faults:
        raise SetupFault("The configuration has faults: " + "; ".join(faults) + ".")
    return settings


def get_environment(name: str) -> str | None:
    """One variable, for the commands that document it."""
    return os.environ.get(name)


def get_user_config_dir() -> Path:
    """Where profiles are kept."""
    if explicit := os.environ.get("STEELYARD_PROFILES"):
        return Path(explicit)
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "steelyard"


def _data_dir(explicit: str | None, env: Mapping[str, str]) -> Path:
    return Path(explicit or env.get("STEELYARD_DATA_DIR") or "steelyard-data").expanduser().absolute()


def _models_dir(env: Mapping[str, str]) -> Path:
    if explicit := env.get("STEELYARD_MODELS_DIR"):
        return Path(explicit).expanduser().absolute()
    return Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "steelyard" / "models"


def _read_file(config_file: Path | None, env: Mapping[str, str]) -> dict[str, Any]:
    is_named = config_file is not None or bool(env.get("STEELYARD_CONFIG"))
    path = config_file or Path(env.get("STEELYARD_CONFIG") or DEFAULT_FILE)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if is_named:
            raise SetupFault(f"The configuration file {path} does not exist.") from None
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise SetupFault(f"{path} is not valid TOML: {exc}.") from None
    except OSError as exc:
        raise SetupFault(f"{path} cannot be read: {exc.strerror}.") from None


def _overlay_environment(tree: dict[str, Any], env: Mapping[str, str]) -> None:
    for name, value in env.items():
        if name.startswith(ENV_PREFIX) and name not in _OTHER_ENV and "__" in name:
            _put(tree, name[len(ENV_PREFIX) :].lower().split("__"), value)


def _put(tree: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        inner = tree.setdefault(part, {})
        if not isinstance(inner, dict):
            return
        tree = inner
    tree[path[-1]] = value


def _build(tree: dict[str, Any], faults: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, content in tree.items():
        if name in _SECTIONS:
            values[name] = _section(_SECTIONS[name], content, name, faults)
        elif name == "providers":
            values[name] = _named(Provider, content, name, faults)
        elif name == "plugins":
            values[name] = _named(PluginSettings, content, name, faults)
        elif name == "models":
            rest = dict(content) if isinstance(content, dict) else content
            if isinstance(rest, dict) and "embedded_names" in rest:
                values["embedded_names"] = rest.pop("embedded_names")
            values[name] = _named(ModelSettings, rest, name, faults)
        else:
            faults.append(f"{name}: unknown section")
    return {name: value for name, value in values.items() if value is not None}


def _named(kind: type[msgspec.Struct], content: Any, path: str, faults: list[str]) -> dict[str, Any]:
    if not isinstance(content, dict):
        faults.append(f"[{path}] must be a table")
        return {}
    built = {name: _section(kind, inner, f"{path}.{name}", faults) for name, inner in content.items()}
    return {name: value for name, value in built.items() if value is not None}


def _section(kind: type[msgspec.Struct], content: Any, path: str, faults: list[str]) -> Any:
    """Builds a struct field by field, so that every fault is found."""
    if not isinstance(content, dict):
        faults.append(f"{path} must be a table")
        return None
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    values, before = {}, len(faults)
    for name, value in content.items():
        if name not in fields:
            known = ", ".join(sorted(fields))
            faults.append(f"{path}.{name}: unknown key (known: {known})")
            continue
        try:
            values[name] = msgspec.convert(_from_text(value, fields[name].type), fields[name].type, strict=False)
        except msgspec.ValidationError as exc:
            faults.append(f"{path}.{name}: {exc}")
    for name, field in fields.items():
        if field.required and name not in content:
            faults.append(f"{path}.{name} is missing")
    return kind(**values) if len(faults) == before else None


def _from_text(value: Any, kind: Any) -> Any:
    """A list may come from the environment as `a,b`."""
    is_list = getattr(kind, "__origin__", None) is tuple
    if is_list and isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(kind, UnionType) and value == "" and type(None) in get_args(kind):
        return None
    return value


def resolve_secret(reference: str, path: str) -> str:
    """`env:NAME`, `file:PATH` or the value itself.

    Raises:
        SetupFault: what is referred to is not there.
    """
    kind, _, rest = reference.partition(":")
    if kind == "env":
        value = os.environ.get(rest)
        if not value:
            raise SetupFault(f"{path} refers to the environment variable {rest}, which is not set.")
        return value
    if kind == "file":
        try:
            return Path(rest).read_text(encoding="utf-8").strip()
        except OSError as exc:
            raise SetupFault(f"{path} refers to the file {rest}, which cannot be read: {exc.strerror}.") from None
    return reference


def show_settings(settings: Settings) -> dict[str, Any]:
    """The settings as they stand, secrets masked."""
    tree: dict[str, Any] = msgspec.json.decode(encode(settings))
    for plugin in tree["plugins"].values():
        for name in ("environment", "headers"):
            plugin[name] = dict.fromkeys(plugin[name], "***")
    for one in (tree["monitor"], *tree["monitor"]["remote_write"].values()):
        headers = one.get("remote_headers", one.get("headers", {}))
        headers.update(dict.fromkeys(headers, "***"))
    for webhook in tree["monitor"]["webhooks"].values():
        # the address of a robot is its key
        _mask(webhook, "url")
    tree["outbound"]["proxies"] = [_without_user(one) for one in tree["outbound"]["proxies"]]
    tree["database"]["url"] = _without_user(tree["database"]["url"])
    _mask_all(tree)
    return tree


#: Whatever is called so is a secret, wherever it stands.
_SECRETS = frozenset(
    {"api_key", "client_secret", "master_key", "password", "remote_token", "secret", "secret_access_key", "token"}
)


def _mask_all(tree: dict[str, Any]) -> None:
    for name, value in tree.items():
        if isinstance(value, dict):
            _mask_all(value)
        elif isinstance(value, list):
            for one in value:
                if isinstance(one, dict):
                    _mask_all(one)
        elif name in _SECRETS and isinstance(value, str):
            _mask(tree, name)


def _without_user(url: str) -> str:
    """An address without the name and password in it."""
    if "@" not in url:
        return url
    scheme, _, rest = url.partition("://")
    return f"{scheme}://***@{rest.rpartition('@')[2]}"


def _mask(tree: dict[str, Any], name: str) -> None:
    """Hides a secret that is there itself; a reference stays."""
    if tree.get(name) and not tree[name].startswith(("env:", "file:")):
        tree[name] = "***"
