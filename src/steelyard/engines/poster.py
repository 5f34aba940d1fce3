"""`local/poster`: a prompt as a composed picture of type and procedural forms. It is no diffusion model and says so in its foot line.

The prompt and the seed decide everything, so the same call makes the same picture. Colours and forms follow words of the prompt where
it has any that this engine knows, in Chinese and English; else they are drawn by lot.
"""

import hashlib
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from steelyard.engines.pictures import open_picture

#: The index of Simplified Chinese in the collection of Noto Sans CJK.
FONT_INDEX = 2
DEFAULT_SIZE = (1024, 1024)
FOOT = "steelyard · local/poster"

Colour = tuple[int, int, int]
#: words -> (sky above, sky below, forms, ink)
PALETTES: tuple[tuple[tuple[str, ...], tuple[str, str, str, str]], ...] = (
    (("sea", "ocean", "lake", "water", "海", "湖", "水", "river", "河", "江"), ("#0b3954", "#8fd6e1", "#087e8b", "#f4fbfb")),
    (("sunset", "dawn", "sunrise", "dusk", "夕阳", "日落", "日出", "晚霞", "黄昏", "朝霞"), ("#3d1e6d", "#ff9a56", "#c8553d", "#fff4e0")),
    (("forest", "tree", "grass", "green", "森林", "树", "草", "竹", "绿"), ("#10361f", "#b7d99a", "#2f6b3a", "#f5faee")),
    (("night", "star", "moon", "space", "夜", "星", "月", "宇宙", "太空"), ("#04061a", "#2b2f77", "#7a6ff0", "#eef0ff")),
    (("snow", "winter", "ice", "雪", "冬", "冰"), ("#7d9cb8", "#eef5fb", "#b5cbdc", "#17314a")),
    (("fire", "red", "new year", "火", "红", "春节", "新年", "灯笼"), ("#5c0a12", "#d7263d", "#f7b32b", "#fff3d6")),
    (("flower", "spring", "cherry", "花", "春", "樱", "桃", "pink", "粉"), ("#f7c1d0", "#fff1f3", "#e5738f", "#4a1530")),
    (("city", "street", "tech", "cyber", "城市", "街", "科技", "赛博", "都市"), ("#0a0f1e", "#314e89", "#19d3c5", "#eafffd")),
    (("desert", "gold", "autumn", "沙漠", "金", "秋", "麦"), ("#7a4a12", "#f4d58d", "#bf7f2c", "#2c1a05")),
)  # fmt: skip
_FORMS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("mountain", "hill", "山", "峰", "岭"), "hills"),
    (("sea", "ocean", "wave", "lake", "海", "湖", "浪", "江", "河"), "waves"),
    (("city", "street", "building", "城", "街", "楼"), "skyline"),
    (("star", "space", "galaxy", "星", "宇宙", "银河"), "stars"),
    (("flower", "tree", "forest", "花", "树", "林", "竹"), "leaves"),
)


def compose(asked: dict[str, Any]) -> Image.Image:
    """A poster.

    Args:
        asked: `prompt`, and as far as wanted `negative_prompt`, `size` [width, height], `seed`, `base` (the path of a picture to begin
            from).
    """
    prompt, size = str(asked["prompt"]), tuple(asked.get("size") or DEFAULT_SIZE)
    seed = asked.get("seed")
    text = f"{prompt}|{asked.get('negative_prompt') or ''}|{0 if seed is None else seed}"
    draw_lots = random.Random(hashlib.sha256(text.encode()).digest())
    above, below, form, ink = (_rgb(one) for one in _palette(prompt, draw_lots))
    if asked.get("base"):
        picture = _from_base(open_picture(asked["base"]), size, form)
    else:
        picture = _sky(size, above, below, draw_lots)
        _draw_forms(picture, prompt, form, below, draw_lots)
    _letter(picture, prompt, ink, above)
    return picture


def _palette(prompt: str, lots: random.Random) -> tuple[str, str, str, str]:
    low = prompt.lower()
    # the first thing that the prompt names sets the light
    found = [(low.find(word), colours) for words, colours in PALETTES for word in words if word in low]
    return min(found)[1] if found else lots.choice(PALETTES)[1]


def _rgb(text: str) -> Colour:
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def _mix(one: Colour, other: Colour, share: float) -> Colour:
    r, g, b = (round(a + (c - a) * share) for a, c in zip(one, other, strict=True))
    return r, g, b


def _sky(size: tuple[int, ...], above: Colour, below: Colour, lots: random.Random) -> Image.Image:
    """A gradient with a sun or moon in it, and grain, so that it does not band."""
    width, height = size
    rows = np.linspace(0.0, 1.0, height)[:, None, None] ** 0.9
    field = np.array(above, float) + (np.array(below, float) - np.array(above, float)) * rows
    field = np.broadcast_to(field, (height, width, 3)).copy()
    x, y = lots.uniform(0.2, 0.8) * width, lots.uniform(0.16, 0.4) * height
    radius = lots.uniform(0.08, 0.16) * min(width, height)
    ys, xs = np.ogrid[:height, :width]
    distance = np.sqrt((xs - x) ** 2 + (ys - y) ** 2)
    glow = np.exp(-(((distance - radius).clip(0) / (radius * 2.2)) ** 2))[:, :, None]
    field += (np.array(_mix(below, (255, 255, 255), 0.7), float) - field) * glow * 0.75
    noise = np.random.default_rng(lots.getrandbits(32)).normal(0.0, 1.6, (height, width, 1))
    return Image.fromarray((field + noise).clip(0, 255).astype(np.uint8), "RGB")


def _draw_forms(picture: Image.Image, prompt: str, form: Colour, haze: Colour, lots: random.Random) -> None:
    low = prompt.lower()
    names = [name for words, name in _FORMS if any(word in low for word in words)]
    if not names:
        names = [lots.choice(("hills", "waves", "skyline", "leaves"))]
    for name in names[:2]:
        _DRAWN[name](picture, form, haze, lots)


def _hills(picture: Image.Image, form: Colour, haze: Colour, lots: random.Random) -> None:
    draw, (width, height) = ImageDraw.Draw(picture), picture.size
    layers = 5
    for layer in range(layers):
        base = height * (0.52 + 0.11 * layer)
        swings = [(lots.uniform(1.2, 4.5), lots.uniform(0, math.tau), lots.uniform(0.02, 0.07)) for _ in range(3)]
        points = [
            (
                x,
                base
                - height * sum(size * math.sin(x / width * math.tau * rate + phase) for rate, phase, size in swings),
            )
            for x in range(0, width + 8, 8)
        ]
        colour = _mix(haze, form, (layer + 1) / layers)
        draw.polygon([*points, (width, height), (0, height)], fill=_mix(colour, (0, 0, 0), 0.07 * layer))


def _waves(picture: Image.Image, form: Colour, haze: Colour, lots: random.Random) -> None:
    draw, (width, height) = ImageDraw.Draw(picture), picture.size
    layers = 9
    for layer in range(layers):
        share = layer / (layers - 1)
        base, rise = height * (0.58 + 0.42 * share), height * (0.006 + 0.02 * share)
        rate, phase = lots.uniform(3, 8) * (1.4 - share), lots.uniform(0, math.tau)
        points = [(x, base + rise * math.sin(x / width * math.tau * rate + phase)) for x in range(0, width + 6, 6)]
        draw.polygon([*points, (width, height), (0, height)], fill=_mix(haze, form, 0.25 + 0.75 * share))


def _skyline(picture: Image.Image, form: Colour, haze: Colour, lots: random.Random) -> None:
    draw, (width, height) = ImageDraw.Draw(picture), picture.size
    for layer in range(3):
        x = -lots.randint(0, width // 12)
        colour = _mix(haze, _mix(form, (0, 0, 0), 0.6), 0.4 + 0.3 * layer)
        while x < width:
            wide = lots.randint(width // 26, width // 11)
            top = height * lots.uniform(0.42 + 0.12 * layer, 0.8)
            draw.rectangle((x, top, x + wide, height), fill=colour)
            if layer == 2:
                _windows(draw, (x, int(top), wide), height, form, lots)
            x += wide + lots.randint(0, max(width // 90, 1))


def _windows(
    draw: ImageDraw.ImageDraw, tower: tuple[int, int, int], height: int, form: Colour, lots: random.Random
) -> None:
    x, top, wide = tower
    step = max(wide // 5, 4)
    for wx in range(x + step // 2, x + wide - step // 2, step):
        for wy in range(top + step, height - step, step * 2):
            if lots.random() < 0.35:
                draw.rectangle((wx, wy, wx + step // 2, wy + step // 2), fill=_mix(form, (255, 240, 190), 0.6))


def _stars(picture: Image.Image, form: Colour, haze: Colour, lots: random.Random) -> None:
    draw, (width, height) = ImageDraw.Draw(picture), picture.size
    for _ in range(width * height // 3500):
        x, y, size = lots.uniform(0, width), lots.uniform(0, height), lots.random() ** 3 * min(width, height) / 260
        draw.ellipse((x - size, y - size, x + size, y + size), fill=_mix(form, (255, 255, 255), lots.uniform(0.4, 1.0)))
    _hills(picture, form, _mix(haze, (0, 0, 0), 0.2), lots)


def _leaves(picture: Image.Image, form: Colour, haze: Colour, lots: random.Random) -> None:
    width, height = picture.size
    layer = Image.new("RGBA", picture.size)
    draw = ImageDraw.Draw(layer)
    for _ in range(90):
        x, y = lots.uniform(-0.05, 1.05) * width, height * (1.02 - abs(lots.gauss(0, 0.28)))
        long, turn = lots.uniform(0.04, 0.13) * min(width, height), lots.uniform(0, math.tau)
        colour = (*_mix(haze, form, lots.uniform(0.3, 1.0)), lots.randint(150, 235))
        side = [
            (
                x + math.cos(turn) * long * t - math.sin(turn) * long * 0.28 * math.sin(math.pi * t) * way,
                y + math.sin(turn) * long * t + math.cos(turn) * long * 0.28 * math.sin(math.pi * t) * way,
            )
            for way, steps in ((1, range(13)), (-1, range(12, -1, -1)))
            for t in (step / 12 for step in steps)
        ]
        draw.polygon(side, fill=colour)
    picture.paste(layer, (0, 0), layer)


_DRAWN: dict[str, Callable[[Image.Image, Colour, Colour, random.Random], None]] = {
    "hills": _hills,
    "waves": _waves,
    "skyline": _skyline,
    "stars": _stars,
    "leaves": _leaves,
}


def _from_base(base: Image.Image, size: tuple[int, ...], form: Colour) -> Image.Image:
    """A given picture, filled to the size and toned towards the prompt's colour."""
    width, height = size
    scale = max(width / base.width, height / base.height)
    grown = base.resize(
        (max(round(base.width * scale), width), max(round(base.height * scale), height)), Image.Resampling.LANCZOS
    )
    left, top = (grown.width - width) // 2, (grown.height - height) // 2
    picture = grown.crop((left, top, left + width, top + height)).convert("RGB")
    return Image.blend(picture, Image.new("RGB", picture.size, form), 0.18)


# type


def _font(size: int, weight: int) -> ImageFont.FreeTypeFont:
    import manimgx_fonts_cjk

    folder = Path(manimgx_fonts_cjk.__file__).parent
    font = ImageFont.truetype(next(iter(sorted(folder.glob("*.ttc")))), size, index=FONT_INDEX)
    font.set_variation_by_axes([weight])
    return font


def _letter(picture: Image.Image, prompt: str, ink: Colour, shade: Colour) -> None:
    """The prompt over the picture, as large as it fits in the middle third, and the foot line."""
    width, height = picture.size
    margin = round(min(width, height) * 0.08)
    text = " ".join(prompt.split())[:300]
    font, lines = _fit(text, width - 2 * margin, height * 0.42)
    leading = round(font.size * 1.36)
    block = leading * len(lines)
    top = round(height * 0.5 - block / 2)
    shadow = Image.new("L", picture.size, 0)
    dark = ImageDraw.Draw(shadow)
    for number, line in enumerate(lines):
        dark.text((margin, top + number * leading), line, font=font, fill=150)
    blurred = shadow.filter(ImageFilter.GaussianBlur(max(font.size / 7, 1)))
    picture.paste(Image.new("RGB", picture.size, _mix(shade, (0, 0, 0), 0.5)), (0, 0), blurred)
    draw = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        draw.text((margin, top + number * leading), line, font=font, fill=ink)
    rule = top + block + round(font.size * 0.35)
    draw.rectangle((margin, rule, margin + round(width * 0.16), rule + max(height // 200, 2)), fill=ink)
    small = _font(max(min(width, height) // 44, 9), 400)
    draw.text((margin, height - margin // 2 - small.size), FOOT, font=small, fill=ink)


def _fit(text: str, width: float, height: float) -> tuple[ImageFont.FreeTypeFont, list[str]]:
    """The largest type in which the text fits."""
    size = max(round(width / 6), 12)
    while True:
        font = _font(size, 700)
        lines = _wrap(text, font, width)
        if len(lines) * size * 1.36 <= height or size <= 12:
            return font, lines[: max(int(height / (size * 1.36)), 1)]
        size = max(round(size * 0.86), 12)


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """Lines: Latin words stay whole, Chinese may break anywhere but before a stop."""
    lines, line = [], ""
    for word in _words(text):
        if line and font.getlength((line + word).rstrip()) > width and word not in "，。！？；：、,.!?;:）)":
            lines.append(line.rstrip())
            line = word.lstrip()
        else:
            line += word
    return [*lines, line.rstrip()]


def _words(text: str) -> list[str]:
    words: list[str] = []
    for one in text:
        is_latin = one.isascii() and not one.isspace()
        if is_latin and words and words[-1][-1].isascii() and not words[-1][-1].isspace():
            words[-1] += one
        else:
            words.append(one)
    return words
