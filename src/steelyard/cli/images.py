"""`steelyard images`."""

from pathlib import Path

from cyclopts import App

from steelyard.cli.media_flags import HERE, EndpointFlags, calling, native_root, wait_and_save

app = App(name="images", help="Pictures from text.")
SERVICE = "/services/aigc/text2image/image-synthesis"


@app.command
def create(
    prompt: str,
    *,
    model: str = "local/poster",
    size: str = "1024*1024",
    n: int = 1,
    seed: int | None = None,
    out: Path | None = None,
    endpoint: EndpointFlags = HERE,
    json: bool = False,
) -> None:
    """Make pictures; prints their links, or where they were saved.

    Parameters
    ----------
    prompt
        What they should show.
    model
        The model's name.
    size
        Width and height, such as 1024*1024.
    n
        How many, 1 to 4.
    seed
        The same seed makes the same picture.
    out
        Save them here: a file, or a directory.
    endpoint
        Whose.
    json
        Print JSON.
    """
    parameters = {"size": size, "n": n} | ({} if seed is None else {"seed": seed})
    with calling(endpoint) as client:
        body = {"model": model, "input": {"prompt": prompt}, "parameters": parameters}
        answer = client.post(native_root(client.endpoint) + SERVICE, body, {"X-DashScope-Async": "enable"}).json()
        wait_and_save(client.endpoint, answer["output"]["task_id"], out, json=json)
