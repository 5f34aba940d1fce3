"""Pictures by a real diffusion model, where an operator has weights. Runs in a child process alone.

The library is stable-diffusion.cpp, whose models take sides that are multiples of 64: others are made larger and cut.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from steelyard.engines import pictures

STEP = 64
DEFAULT_SIZE = (512, 512)


def make(asked: dict[str, Any], out: Path, tell: Callable[[float], None]) -> dict[str, Any]:
    """Makes pictures.

    Args:
        asked: as for the poster; and `parts` (the library's `*_path` arguments), `steps`, `guidance`, `threads`.

    Returns:
        `files`, `width`, `height`.

    Raises:
        WeightsError: the weights cannot be read.
        PictureError: nor can the picture to begin from.
    """
    from stable_diffusion_cpp import StableDiffusion

    missing = [path for path in asked["parts"].values() if not Path(path).is_file()]
    if missing:
        raise pictures.WeightsError(f"there is no file {Path(missing[0]).name}")
    try:
        model = StableDiffusion(**asked["parts"], n_threads=asked["threads"], verbose=False)
    except ValueError as exc:
        raise pictures.WeightsError("the weights cannot be loaded") from exc
    width, height = asked.get("size") or DEFAULT_SIZE
    base = None if asked.get("base") is None else pictures.open_picture(asked["base"])
    count, files = asked["n"], []
    for number in range(count):
        # picture i has the seed i higher, as the vendor does it; without one the library chooses
        seed = -1 if asked.get("seed") is None else asked["seed"] + number
        done = number

        def step(at: int, of: int, _seconds: float, done: int = done) -> None:
            tell((done + at / max(of, 1)) / count)

        try:
            made = model.generate_image(
                prompt=asked["prompt"],
                negative_prompt=asked.get("negative_prompt") or "",
                init_image=None if base is None else ImageOps.fit(base, (_up(width), _up(height))),
                width=_up(width),
                height=_up(height),
                sample_steps=asked["steps"],
                cfg_scale=asked["guidance"],
                seed=seed,
                progress_callback=step,
            )
        except ValueError as exc:
            # weights that are none show only here
            raise pictures.WeightsError("the weights make no picture; are they a model's?") from exc
        one: Image.Image = ImageOps.fit(made[0].convert("RGB"), (width, height))
        path = out / f"{number}.{asked['image_format']}"
        pictures.save(one, path, asked["image_format"])
        files.append(str(path))
    return {"files": files, "width": width, "height": height}


def _up(side: int) -> int:
    return -(-side // STEP) * STEP
