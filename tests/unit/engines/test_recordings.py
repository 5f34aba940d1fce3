"""Films and sound are decoded for real, in a child process."""

import wave
from pathlib import Path

import av
import numpy as np
import pytest

from steelyard.engines.workshop import Workshop, WorkshopError


def film(path: Path, *, seconds: int = 2, with_sound: bool = False) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("h264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        sound = out.add_stream("aac", rate=16_000, layout="mono") if with_sound else None
        for number in range(seconds * 10):
            pixels = np.full((96, 128, 3), number, dtype=np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        out.mux(stream.encode(None))
        if sound is not None:
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
            frame.sample_rate = 16_000
            out.mux(sound.encode(frame))
            out.mux(sound.encode(None))
    return path


def sound(path: Path) -> Path:
    with wave.open(str(path), "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(8_000)
        out.writeframes(bytes(4 * 8_000))
    return path


async def describe(path: Path) -> dict[str, object]:
    return await Workshop(1).run("describe_recording", {"path": str(path)}, path.parent)


async def test_what_they_are(tmp_path: Path) -> None:
    """Pictures, sound, or both."""
    seen = await describe(film(tmp_path / "a.mp4"))
    assert seen == {
        "duration_s": 2.0,
        "video": {"codec": "h264", "width": 128, "height": 96, "fps": 10.0},
        "audio": None,
    }
    both = await describe(film(tmp_path / "b.mp4", with_sound=True))
    assert both["audio"] == {"codec": "aac", "sample_rate": 16_000, "channels": 1}
    heard = await describe(sound(tmp_path / "a.wav"))
    assert heard == {
        "duration_s": 1.0,
        "video": None,
        "audio": {"codec": "pcm_s16le", "sample_rate": 8_000, "channels": 2},
    }


@pytest.mark.parametrize("data", [b"", b"RIFF....WAVEfmt ", b"\x00\x00\x00\x18ftypmp42" + b"x" * 500, b"<html>", "cut"])
async def test_what_they_are_not(tmp_path: Path, data: bytes | str) -> None:
    """A damaged one is found out, whatever its first bytes say."""
    path = tmp_path / "a.mp4"
    if data == "cut":
        whole = film(tmp_path / "b.mp4").read_bytes()
        path.write_bytes(whole[: len(whole) // 3])
    else:
        path.write_bytes(data)  # type: ignore[arg-type]
    with pytest.raises(WorkshopError) as caught:
        await describe(path)
    assert caught.value.kind == "recording"
