"""What the commands for pictures, films, tasks and files share: whose endpoint, its client, a result saved."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from steelyard.base.errors import SetupFault
from steelyard.base.explain import explain
from steelyard.canon.model import LOCAL_PREFIX
from steelyard.cli.context import find_endpoint, print_json
from steelyard.client.api import Client
from steelyard.client.endpoint import Endpoint
from steelyard.client.errors import ApiError
from steelyard.client.steelyard import Steelyard


@Parameter(name="*")
@dataclass(frozen=True)
class EndpointFlags:
    """Nothing given is the server of this machine, or the active profile."""

    base_url: Annotated[str | None, Parameter(help="Address of the endpoint; default the server of this machine.")] = (
        None
    )
    api_key: Annotated[str | None, Parameter(help="Its key.")] = None
    profile: Annotated[str | None, Parameter(help="A kept endpoint and key.")] = None


HERE = EndpointFlags()


@contextlib.contextmanager
def calling(flags: EndpointFlags) -> Iterator[Client]:
    """A client of the chosen endpoint; what it answers wrong becomes one sentence."""
    endpoint = find_endpoint(flags.base_url, flags.api_key, flags.profile)
    with told(), Client(endpoint) as client:
        yield client


@contextlib.contextmanager
def hinting(model: str, bundle: str, extra: str) -> Iterator[None]:
    """Where an embedded model is not there, what brings it.

    Raises:
        SetupFault: saying so.
    """
    try:
        yield
    except ApiError as error:
        if error.status != 404 or model != f"{LOCAL_PREFIX}{bundle}":
            raise
        raise SetupFault(
            f"{model} is not there: on the server's machine run `pip install 'steelyard[{extra}]'` and "
            f"`steelyard models pull {bundle}`, then start it anew; or name a provider's model with --model."
        ) from None


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Refusals become one sentence with the cure.

    Raises:
        SetupFault: the refusal.
    """
    try:
        yield
    except ApiError as error:
        found = explain(error.body) if error.body else []
        cure = f" {found[0].row.cure[0]}" if found else ""
        raise SetupFault(f"{error.status or 'No answer'}: {error.message}{cure}") from None
    except TimeoutError as error:
        raise SetupFault(f"{error}; `steelyard tasks show` tells of it later.") from None


def native_root(endpoint: Endpoint) -> str:
    """Where the native API begins."""
    return endpoint.base_url.split("/compatible-mode")[0].removesuffix("/v1").rstrip("/") + "/api/v1"


def put_up(client: Client, file: Path) -> str:
    """Uploads a local file; the address by which calls name it.

    Raises:
        SetupFault: there is no such file, or it is refused.
    """
    if not file.is_file():
        raise SetupFault(f"{file} is no file.")
    with file.open("rb") as opened:
        made = client.upload(f"{native_root(client.endpoint)}/files", {"files": (file.name, opened)}).json()["data"]
    if made["failed_uploads"]:
        raise SetupFault(made["failed_uploads"][0]["message"])
    return f"fileid://{made['uploaded_files'][0]['file_id']}"


def wait_and_save(endpoint: Endpoint, task_id: str, out: Path | None, *, json: bool) -> None:
    """Waits for a task, saves its results where that is wanted, and prints where they are."""
    with told(), Steelyard(native_root(endpoint), endpoint.api_key, api="dashscope") as client:
        output = client.wait(task_id)
        links = links_of(output)
        saved = (
            []
            if out is None
            else [client.save(link, _target(out, number, len(links))) for number, link in enumerate(links)]
        )
    if json:
        print_json({**output, "saved": [str(path) for path in saved]})
        return
    for one in saved or links:
        print(one)


def _target(out: Path, number: int, count: int) -> Path:
    return out if count == 1 or out.is_dir() else out.with_stem(f"{out.stem}-{number}")


def links_of(output: dict[str, Any]) -> list[str]:
    """The results' links in any of the native forms."""
    if output.get("video_url"):
        return [output["video_url"]]
    results = [*(output.get("results") or []), *([output["result"]] if output.get("result") else [])]
    found = [link for one in results if (link := one.get("url") or one.get("transcription_url"))]
    if output.get("audio"):
        found.append(output["audio"]["url"])
    for choice in output.get("choices") or []:
        found += [part["image"] for part in choice["message"]["content"] if "image" in part]
    return found
