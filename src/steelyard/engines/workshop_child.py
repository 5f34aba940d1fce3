"""The child process of the workshop: what it can do."""

from pathlib import Path
from typing import Any

from steelyard.engines.child import ChildJob, say, serve


def _poster(asked: dict[str, Any], out: Path) -> dict[str, Any]:
    from steelyard.engines import pictures, poster

    kind = asked["image_format"]
    files = []
    for number in range(asked["n"]):
        seed = asked.get("seed")
        # picture i has the seed i higher, as the vendor does it
        one = poster.compose({**asked, "seed": number if seed is None else seed + number})
        path = out / f"{number}.{kind}"
        pictures.save(one, path, kind)
        files.append(str(path))
        say(progress=(number + 1) / asked["n"])
    return {"files": files, "width": one.width, "height": one.height}


def _film(asked: dict[str, Any], out: Path) -> dict[str, Any]:
    from steelyard.engines import camera

    path = out / "film.mp4"
    made = camera.film(asked, path, lambda share: say(progress=share))
    return {"files": [str(path)], **made}


def _describe(asked: dict[str, Any], _out: Path) -> dict[str, Any]:
    from steelyard.engines import pictures

    return pictures.describe(asked["path"])


JOBS: dict[str, ChildJob] = {"poster": _poster, "film": _film, "describe": _describe}


if __name__ == "__main__":
    serve(JOBS)
