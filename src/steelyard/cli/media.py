"""`steelyard media`."""

import sys
from pathlib import Path

from cyclopts import App

from steelyard.cli.context import EXIT_FAILED, get_settings, print_json
from steelyard.cli.media_flags import HERE, EndpointFlags, calling, native_root, put_up

app = App(name="media", help="Links: test one, publish a file, what to let through a firewall.")


@app.command
def check(url: str, *, data_dir: Path | None = None, config: Path | None = None, json: bool = False) -> None:
    """Test a link as a task would follow it, before one is paid for.

    Parameters
    ----------
    url
        The link.
    data_dir
        The installation's data directory.
    config
        Configuration file.
    json
        Print JSON.
    """
    from steelyard.assembly.media import check_link

    report = check_link(get_settings(data_dir, config), url)
    if json:
        print_json(report)
    else:
        for name, value in report.items():
            if name not in ("warnings", "error", "ok", "url") and value not in (None, ""):
                print(f"{name.replace('_', ' '):18} {value}")
        for warning in report["warnings"]:
            print(f"warning            {warning}")
        if report["error"] is not None:
            error = report["error"]
            print(f"error              {error['code']}: {error['message']}")
            for text in _texts(error["detail"]):
                print(f"                   {text}")
        print("verdict            " + ("usable" if report["ok"] else "not usable"))
    if not report["ok"]:
        sys.exit(EXIT_FAILED)


def _texts(detail: object) -> list[str]:
    """Every text of an explanation, in both languages."""
    if isinstance(detail, dict):
        return [text for value in detail.values() for text in _texts(value)]
    return [str(detail)]


@app.command
def publish(
    file: Path,
    *,
    ttl: str = "forever",
    endpoint: EndpointFlags = HERE,
    json: bool = False,
) -> None:
    """Keep a file behind a public link, and print the link.

    Parameters
    ----------
    file
        The file.
    ttl
        How long the link is good, such as 7d, or forever.
    endpoint
        Whose.
    json
        Print JSON.
    """
    with calling(endpoint) as client:
        file_id = put_up(client, file).removeprefix("fileid://")
        shown = client.post(f"{native_root(client.endpoint)}/files/{file_id}/publish", {"ttl": ttl}).json()["data"]
    if json:
        print_json(shown)
        return
    print(shown["url"])


@app.command
def domains(*, data_dir: Path | None = None, config: Path | None = None) -> None:
    """What a firewall or mini-program must let through to open any link of this server.

    Parameters
    ----------
    data_dir
        The installation's data directory.
    config
        Configuration file.
    """
    from steelyard.declared import link_origin_of

    print(link_origin_of(get_settings(data_dir, config)))
