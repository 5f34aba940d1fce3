"""`steelyard files`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cyclopts import App

from steelyard.base.errors import SetupFault
from steelyard.cli.context import print_json, print_table
from steelyard.cli.media_flags import HERE, EndpointFlags, calling

app = App(name="files", help="Files: upload, list, save, delete. Documents are named in calls as fileid://ID.")


@app.command
def upload(file: Path, *, purpose: str = "file-extract", endpoint: EndpointFlags = HERE, json: bool = False) -> None:
    """Upload a file; prints its id.

    Parameters
    ----------
    file
        The file.
    purpose
        file-extract (a document or picture for calls) or batch (JSON lines of calls).
    endpoint
        Whose.
    json
        Print JSON.
    """
    if not file.is_file():
        raise SetupFault(f"{file} is no file.")
    with calling(endpoint) as client, file.open("rb") as opened:
        form = {"purpose": (None, purpose), "file": (file.name, opened)}
        made = client.upload(f"{client.endpoint.base_url}/files", form).json()
    if json:
        print_json(made)
        return
    print(made["id"])


@app.command(name="list")
def list_files(*, purpose: str | None = None, endpoint: EndpointFlags = HERE, json: bool = False) -> None:
    """List files, the newest first.

    Parameters
    ----------
    purpose
        Of this purpose alone.
    endpoint
        Whose.
    json
        Print JSON.
    """
    found: list[dict[str, Any]] = []
    with calling(endpoint) as client:
        after = ""
        while True:
            query = "?limit=100" + (f"&purpose={purpose}" if purpose else "") + (f"&after={after}" if after else "")
            page = client.get(f"files{query}").json()
            found += page["data"]
            if not page.get("has_more") or not page["data"]:
                break
            after = page["data"][-1]["id"]
    if json:
        print_json(found)
        return
    rows = [
        (one["id"], one["filename"], one["purpose"], f"{one['bytes']:,}", _date(one["created_at"])) for one in found
    ]
    print_table(("id", "name", "purpose", "bytes", "made"), rows)


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


@app.command
def save(file_id: str, out: Path, *, endpoint: EndpointFlags = HERE) -> None:
    """Save a file's bytes, such as a batch's answers.

    Parameters
    ----------
    file_id
        Its id.
    out
        Where to.
    endpoint
        Whose.
    """
    with calling(endpoint) as client:
        client.save(f"files/{file_id}/content", out)
    print(out)


@app.command
def delete(file_id: str, *, endpoint: EndpointFlags = HERE) -> None:
    """Delete a file.

    Parameters
    ----------
    file_id
        Its id.
    endpoint
        Whose.
    """
    with calling(endpoint) as client:
        client.delete(f"files/{file_id}")
    print(f"{file_id} is deleted.")
