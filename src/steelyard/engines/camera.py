"""`local/camera-motion`: a first frame as a film, by pan and zoom. It makes nothing move that does not; it moves the camera.

The prompt chooses the movement by its words, in Chinese and English; else the seed does. With a last frame the one turns into the other.
"""

import hashlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from steelyard.engines import poster
from steelyard.engines.pictures import open_picture

FPS = 30
DURATION_S = 5
#: Pixels of a frame by resolution; the aspect is the first frame's.
PIXELS = {"480P": 854 * 480, "720P": 1280 * 720, "1080P": 1920 * 1080}
RESOLUTION = "720P"
#: How much larger the picture is than the frame that looks at it.
REACH = 1.28

#: From where the camera looks to where: (x, y, zoom) at the beginning and at the end, x and y from 0 to 1.
_Move = tuple[tuple[float, float, float], tuple[float, float, float]]
_NEAR, _FAR = 1.0 / REACH, 1.0
MOVES: dict[str, _Move] = {
    "zoom_in": ((0.5, 0.5, _FAR), (0.5, 0.5, _NEAR)),
    "zoom_out": ((0.5, 0.5, _NEAR), (0.5, 0.5, _FAR)),
    "pan_left": ((1.0, 0.5, _NEAR), (0.0, 0.5, _NEAR)),
    "pan_right": ((0.0, 0.5, _NEAR), (1.0, 0.5, _NEAR)),
    "pan_up": ((0.5, 1.0, _NEAR), (0.5, 0.0, _NEAR)),
    "pan_down": ((0.5, 0.0, _NEAR), (0.5, 1.0, _NEAR)),
    "still": ((0.5, 0.5, _FAR), (0.5, 0.5, _FAR)),
}
_WORDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("zoom_out", ("zoom out", "pull back", "pull out", "dolly out", "拉远", "后退", "拉镜", "远离", "缩小")),
    (
        "zoom_in",
        ("zoom in", "push in", "dolly in", "close up", "closer", "推近", "推进", "推镜", "靠近", "特写", "放大"),
    ),
    ("pan_left", ("pan left", "move left", "to the left", "左移", "向左", "往左")),
    ("pan_right", ("pan right", "move right", "to the right", "右移", "向右", "往右")),
    ("pan_up", ("pan up", "tilt up", "rise", "upward", "上移", "向上", "上升", "仰")),
    ("pan_down", ("pan down", "tilt down", "descend", "downward", "下移", "向下", "下降", "俯")),
    ("still", ("static camera", "still camera", "fixed camera", "固定镜头", "镜头不动")),
)


def choose_move(prompt: str, seed: int | None) -> str:
    """The movement's name: the one whose words come first in the prompt, else by lot."""
    low = prompt.lower()
    found = [(low.find(word), name) for name, words in _WORDS for word in words if word in low]
    if found:
        return min(found)[1]
    lots = random.Random(hashlib.sha256(f"{prompt}|{seed or 0}".encode()).digest())
    return lots.choice(("zoom_in", "zoom_out", "pan_left", "pan_right", "pan_up"))


def frame_size(first: Image.Image | None, asked: dict[str, Any]) -> tuple[int, int]:
    """Width and height, both even: those asked for, else the resolution's pixels in the first frame's aspect."""
    if asked.get("size"):
        width, height = asked["size"]
        return width // 2 * 2, height // 2 * 2
    aspect = 16 / 9 if first is None else min(max(first.width / first.height, 0.25), 4.0)
    pixels = PIXELS[asked.get("resolution") or RESOLUTION]
    height = round((pixels / aspect) ** 0.5)
    return round(height * aspect) // 2 * 2, height // 2 * 2


def film(asked: dict[str, Any], path: Path, tell: Callable[[float], None]) -> dict[str, Any]:
    """Makes the film.

    Args:
        asked: `prompt`, and as far as wanted `first` and `last` (paths of pictures), `size`, `resolution`, `duration_s`, `fps`, `seed`.
        tell: hears of progress, 0 to 1.

    Returns:
        `width`, `height`, `fps`, `duration_s`, `frames`, `move`.
    """
    prompt = str(asked.get("prompt") or "")
    first = open_picture(asked["first"]) if asked.get("first") else None
    size = frame_size(first, asked)
    if first is None:
        first = poster.compose({"prompt": prompt, "size": size, "seed": asked.get("seed")})
    last = open_picture(asked["last"]) if asked.get("last") else None
    fps, duration_s = int(asked.get("fps") or FPS), int(asked.get("duration_s") or DURATION_S)
    move = choose_move(prompt, asked.get("seed"))
    frames = _Frames(first, last, size, MOVES[move])
    count = fps * duration_s
    _encode(frames, count, fps, size, path, tell)
    return {"width": size[0], "height": size[1], "fps": fps, "duration_s": duration_s, "frames": count, "move": move}


class _Frames:
    """What the camera sees, moment by moment."""

    def __init__(self, first: Image.Image, last: Image.Image | None, size: tuple[int, int], move: _Move) -> None:
        self._size = size
        self._move = move
        self._first = _filled(first, size)
        self._last = None if last is None else _filled(last, size)

    def at(self, moment: float) -> Image.Image:
        """The frame at a moment, 0 to 1."""
        # slow at both ends, as a hand moves a camera
        eased = moment * moment * (3 - 2 * moment)
        x, y, zoom = (a + (b - a) * eased for a, b in zip(*self._move, strict=True))
        seen = self._look(self._first, x, y, zoom)
        if self._last is None or moment < 0.25:
            return seen
        share = min((moment - 0.25) / 0.6, 1.0)
        return Image.blend(seen, self._look(self._last, x, y, zoom), share)

    def _look(self, picture: Image.Image, x: float, y: float, zoom: float) -> Image.Image:
        wide, high = picture.width * zoom, picture.height * zoom
        left, top = (picture.width - wide) * x, (picture.height - high) * y
        return picture.resize(self._size, Image.Resampling.BILINEAR, box=(left, top, left + wide, top + high))


def _filled(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """A picture that fills the frame with room to move in."""
    width, height = round(size[0] * REACH), round(size[1] * REACH)
    scale = max(width / picture.width, height / picture.height)
    grown = picture.resize(
        (max(round(picture.width * scale), width), max(round(picture.height * scale), height)), Image.Resampling.LANCZOS
    )
    left, top = (grown.width - width) // 2, (grown.height - height) // 2
    return grown.crop((left, top, left + width, top + height))


def _encode(
    frames: _Frames, count: int, fps: int, size: tuple[int, int], path: Path, tell: Callable[[float], None]
) -> None:
    # an extra, and GPL by its libx264: imported in this process alone, and only where a film is made
    import av

    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream: Any = container.add_stream("libx264", rate=fps)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        to_frame: Any = av.VideoFrame.from_image
        stream.options = {"preset": "veryfast", "crf": "21"}
        for number in range(count):
            picture = frames.at(number / max(count - 1, 1))
            for packet in stream.encode(to_frame(picture)):
                container.mux(packet)
            if number % fps == 0:
                tell(number / count)
        for packet in stream.encode():
            container.mux(packet)
