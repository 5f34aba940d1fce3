"""`steelyard models`."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from cyclopts import App

from steelyard.base.errors import SetupFault
from steelyard.canon.model import LOCAL_PREFIX
from steelyard.cli.context import find_endpoint, get_settings, print_json, print_table, with_models
from steelyard.client.api import Client
from steelyard.client.errors import ApiError
from steelyard.engines.catalogue import BUNDLES, DEFAULT_CHAT, MODELS, Bundle, EmbeddedModel
from steelyard.engines.weights import Progress, is_bundle_present, is_present, pull, pull_bundle, weights_path

app = App(name="models", help="Models: list, show, pull the embedded ones' weights.")


def find_embedded(name: str) -> EmbeddedModel:
    """An embedded model by name, with or without `local/`.

    Raises:
        SetupFault: there is none.
    """
    model = MODELS.get(name.removeprefix(LOCAL_PREFIX))
    if model is None:
        known = ", ".join(sorted((*MODELS, *BUNDLES)))
        raise SetupFault(f"There is no embedded model {name!r}; known: {known}.")
    return model


@app.command(name="pull")
def pull_command(
    name: str = DEFAULT_CHAT, *, from_file: Path | None = None, url: str | None = None, config: Path | None = None
) -> None:
    """Get the weights of an embedded model into the cache.

    Parameters
    ----------
    name
        The embedded model.
    from_file
        Take them from this file.
    url
        Take them from this address instead of the model hubs.
    config
        Configuration file.
    """
    settings = get_settings(config=config)
    bundle = BUNDLES.get(name.removeprefix(LOCAL_PREFIX))
    if bundle is not None:
        if from_file or url:
            raise SetupFault(f"{bundle.name} is several files; --from-file and --url bring one.")
        print(pull_bundle_with_progress(Path(settings.models_dir), bundle))
        return
    path = pull_with_progress(
        Path(settings.models_dir), find_embedded(name), source_file=from_file, urls=(url,) if url else None
    )
    print(path)


def pull_with_progress(
    models_dir: Path, model: EmbeddedModel, *, source_file: Path | None = None, urls: tuple[str, ...] | None = None
) -> Path:
    """Pulls with a progress bar; none when piped."""
    if is_present(models_dir, model) and source_file is None and urls is None:
        # the full check reads every byte; the engine's own start would fail on damage, and `pull` mends it
        print(f"checking the weights of {model.name} …", file=sys.stderr)
    with _progress(model.name, model.weights.size_bytes) as report:
        return pull(models_dir, model, report, source_file=source_file, urls=urls)


def pull_bundle_with_progress(models_dir: Path, bundle: Bundle) -> Path:
    """Likewise for a model of several files."""
    with _progress(bundle.name, bundle.size_bytes) as report:
        return pull_bundle(models_dir, bundle, report)


@contextlib.contextmanager
def _progress(name: str, size_bytes: int) -> Iterator[Progress]:
    """A progress bar on a terminal, a line elsewhere."""
    if not sys.stderr.isatty():
        print(f"getting the weights of {name} ({size_bytes / 1e6:.0f} MB) …", file=sys.stderr)
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=size_bytes)

        def report(what: str, done: int, total: int) -> None:
            bar.update(task, description=f"{name}: {what}", completed=done, total=total)

        yield report


@app.command(name="list")
def list_models(
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    profile: str | None = None,
    config: Path | None = None,
    json: bool = False,
) -> None:
    """List models: an endpoint's with --profile or --base-url, else what this installation has.

    Parameters
    ----------
    base_url
        Address of an endpoint.
    api_key
        Its key.
    profile
        A kept endpoint and key.
    config
        Configuration file.
    json
        Print JSON.
    """
    if base_url or profile:
        endpoint = find_endpoint(base_url, api_key, profile)
        try:
            with Client(endpoint) as client:
                data = client.get("models").json().get("data", [])
        except ApiError as error:
            raise SetupFault(f"{error.status or 'no answer'}: {error.message}") from None
        if json:
            print_json(data)
        else:
            print_table(("Name", "Owner"), [(one["id"], one.get("owned_by", "")) for one in data])
        return
    rows = _own_models(config)
    if json:
        print_json(rows)
    else:
        print_table(("Name", "Answered by", "State"), [(row["name"], row["target"], row["state"]) for row in rows])


def _own_models(config: Path | None) -> list[dict[str, str]]:
    settings = get_settings(config=config)
    models = with_models(settings, lambda book: book.read())
    rows = [
        {
            "name": name,
            "target": ", ".join(target.label for target in model.targets),
            "state": "stand-in" if model.is_stand_in else "ready",
        }
        for name, model in sorted(models.items())
    ]
    models_dir = Path(settings.models_dir)
    rows += [
        {"name": LOCAL_PREFIX + name, "target": f"local/{name}", "state": f"not pulled: steelyard models pull {name}"}
        for name, model in sorted(MODELS.items())
        if not is_present(models_dir, model)
    ]
    rows += [
        {"name": LOCAL_PREFIX + name, "target": f"local/{name}", "state": _wish(bundle, models_dir)}
        for name, bundle in sorted(BUNDLES.items())
        if LOCAL_PREFIX + name not in models
    ]
    return rows


def _wish(bundle: Bundle, models_dir: Path) -> str:
    """What a bundle lacks."""
    if not is_bundle_present(models_dir, bundle):
        return f"not pulled: steelyard models pull {bundle.name}"
    return f"needs the extra: pip install 'steelyard[{bundle.extra}]'"


@app.command
def show(name: str = DEFAULT_CHAT, *, config: Path | None = None, json: bool = False) -> None:
    """Show an embedded model.

    Parameters
    ----------
    name
        The embedded model.
    config
        Configuration file.
    json
        Print JSON.
    """
    model = find_embedded(name)
    models_dir = Path(get_settings(config=config).models_dir)
    shown = {
        "name": LOCAL_PREFIX + model.name,
        "title": model.title[0],
        "title_zh": model.title[1],
        "licence": model.weights.licence,
        "size_bytes": model.weights.size_bytes,
        "sha256": model.weights.sha256,
        "context_tokens": model.context_tokens,
        "capabilities": model.capabilities,
        "path": str(weights_path(models_dir, model)) if is_present(models_dir, model) else None,
    }
    if json:
        print_json(shown)
    else:
        print_table(("Field", "Value"), list(shown.items()))
