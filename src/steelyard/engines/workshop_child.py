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


def _diffuse(asked: dict[str, Any], out: Path) -> dict[str, Any]:
    from steelyard.engines import diffusion

    return diffusion.make(asked, out, lambda share: say(progress=share))


def _film(asked: dict[str, Any], out: Path) -> dict[str, Any]:
    from steelyard.engines import camera

    path = out / "film.mp4"
    made = camera.film(asked, path, lambda share: say(progress=share))
    return {"files": [str(path)], **made}


def _describe(asked: dict[str, Any], _out: Path) -> dict[str, Any]:
    from steelyard.engines import pictures

    return pictures.describe(asked["path"])


def _describe_recording(asked: dict[str, Any], _out: Path) -> dict[str, Any]:
    from steelyard.engines import recordings

    return recordings.describe(asked["path"])


def _transcribe(asked: dict[str, Any], out: Path) -> dict[str, Any]:
    import json

    from steelyard.engines import whisper

    properties, transcript = whisper.transcribe(
        asked["path"], Path(asked["weights"]), asked["hints"], lambda share: say(progress=share)
    )
    path = out / "transcription.json"
    told = {"file_url": asked["file_url"], "properties": properties, "transcripts": [transcript]}
    path.write_text(json.dumps(told, ensure_ascii=False), "utf-8")
    return {"files": [str(path)], "duration_ms": properties["original_duration_in_milliseconds"]}


def _speak(asked: dict[str, Any], out: Path) -> dict[str, Any]:
    from steelyard.engines import piper

    return piper.speak(asked, Path(asked["weights"]), out)


JOBS: dict[str, ChildJob] = {
    "poster": _poster,
    "diffuse": _diffuse,
    "film": _film,
    "describe": _describe,
    "describe_recording": _describe_recording,
    "transcribe": _transcribe,
    "speak": _speak,
}


if __name__ == "__main__":
    serve(JOBS)
