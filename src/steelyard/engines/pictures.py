"""Pictures decoded under limits. Runs in a child process alone: what a caller sends is never decoded beside anything else.

Imported by `workshop_child`; nothing here keeps state.
"""

from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from steelyard.engines.child import JobError

#: Larger pictures are refused before a pixel of them is decoded.
MAX_PIXELS = 50_000_000
FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "BMP": "image/bmp", "GIF": "image/gif"}
_SAVE_AS: dict[str, dict[str, Any]] = {
    "png": {"format": "PNG", "optimize": False, "compress_level": 6},
    "jpeg": {"format": "JPEG", "quality": 92},
    "webp": {"format": "WEBP", "quality": 90, "method": 2},
}


class PictureError(JobError):
    """A file is no picture that can be used; its text is for people."""

    kind = "picture"


class WeightsError(JobError):
    """A model's weights cannot be used; its text is for the operator."""

    kind = "weights"


def open_picture(path: str | Path) -> Image.Image:
    """A picture, decoded, upright, in RGB.

    Raises:
        PictureError: it is none, is damaged, or is too large.
    """
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    try:
        with Image.open(path, formats=list(FORMATS)) as found:
            width, height = found.size
            if width * height > MAX_PIXELS:
                raise PictureError(f"the picture has {width} x {height} pixels, over the limit of {MAX_PIXELS:,}")
            found.load()
            upright = ImageOps.exif_transpose(found)
            return _on_white(upright) if upright.mode in ("RGBA", "LA", "P", "PA") else upright.convert("RGB")
    except PictureError:
        raise
    except Image.DecompressionBombError as exc:
        raise PictureError(f"the picture has more pixels than the limit of {MAX_PIXELS:,}") from exc
    except Exception as exc:
        # decoders fail in many ways, and all of them mean the same here
        raise PictureError("the file is no PNG, JPEG, WebP, BMP or GIF picture, or it is damaged") from exc


def _on_white(picture: Image.Image) -> Image.Image:
    rgba = picture.convert("RGBA")
    paper = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return Image.alpha_composite(paper, rgba).convert("RGB")


def describe(path: str | Path) -> dict[str, Any]:
    """What a picture is: decoded for real, so that a damaged one is found out.

    Returns:
        `format`, `content_type`, `width`, `height`, `has_alpha`.
    """
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    picture = open_picture(path)
    with Image.open(path, formats=list(FORMATS)) as found:
        kind = str(found.format)
        has_alpha = found.mode in ("RGBA", "LA", "PA") or "transparency" in found.info
    return {
        "format": kind,
        "content_type": FORMATS[kind],
        "width": picture.width,
        "height": picture.height,
        "has_alpha": has_alpha,
    }


def save(picture: Image.Image, path: str | Path, kind: str) -> None:
    """Writes a picture as `png`, `jpeg` or `webp`."""
    picture.save(path, **_SAVE_AS[kind])
