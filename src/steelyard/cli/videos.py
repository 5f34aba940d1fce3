"""`steelyard videos`."""

import base64
import mimetypes
from pathlib import Path
from typing import Any

from cyclopts import App

from steelyard.base.errors import SetupFault
from steelyard.cli.media_flags import HERE, EndpointFlags, calling, native_root, wait_and_save

app = App(name="videos", help="Films from text or from a first frame.")
SERVICE = "/services/aigc/video-generation/video-synthesis"
TWO_FRAMES = "/services/aigc/image2video/video-synthesis"


@app.command
def create(
    prompt: str,
    *,
    first_frame: str | None = None,
    last_frame: str | None = None,
    model: str = "local/camera-motion",
    resolution: str = "720P",
    duration: int = 5,
    seed: int | None = None,
    out: Path | None = None,
    endpoint: EndpointFlags = HERE,
    json: bool = False,
) -> None:
    """Make a film; prints its link, or where it was saved.

    Parameters
    ----------
    prompt
        What should happen, such as "zoom in slowly".
    first_frame
        A picture to begin with: a file or a link.
    last_frame
        A picture to end with.
    model
        The model's name.
    resolution
        480P, 720P or 1080P.
    duration
        Seconds.
    seed
        The same seed makes the same film.
    out
        Save it here: a file, or a directory.
    endpoint
        Whose.
    json
        Print JSON.
    """
    asked: dict[str, Any] = {"prompt": prompt}
    if last_frame is not None:
        asked |= {"first_frame_url": read_frame(first_frame), "last_frame_url": read_frame(last_frame)}
    elif first_frame is not None:
        asked["img_url"] = read_frame(first_frame)
    parameters = {"resolution": resolution, "duration": duration} | ({} if seed is None else {"seed": seed})
    with calling(endpoint) as client:
        body = {"model": model, "input": asked, "parameters": parameters}
        path = TWO_FRAMES if last_frame is not None else SERVICE
        answer = client.post(native_root(client.endpoint) + path, body, {"X-DashScope-Async": "enable"}).json()
        wait_and_save(client.endpoint, answer["output"]["task_id"], out, json=json)


def read_frame(place: str | None) -> str:
    """A link as it is, a file as a `data:` link.

    Raises:
        SetupFault: there is no such file.
    """
    if place is None:
        raise SetupFault("A last frame needs a first one: give --first-frame too.")
    if place.startswith(("http://", "https://", "data:", "oss://", "fileid://")):
        return place
    try:
        data = Path(place).read_bytes()
    except OSError as exc:
        raise SetupFault(f"{place} cannot be read: {exc.strerror}.") from None
    kind = mimetypes.guess_type(place)[0] or "image/png"
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
