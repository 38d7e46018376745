"""Write the samples to try: `python -m training.write_samples assets/samples`.

A picture, a page (PNG and PDF), a recording and a short video, all made here and none of them a
training item: they come from the held-out side of the split.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image, ImageDraw

from training import fonts, phrases, shapes, speech
from training.write_eval_set import write_video

PAGE_FONT = "Carlito-Regular"
PAGE_LINES = ("Market list", "12 apples", "$4.50")
LINE = "Piano Friday 18:45"
COMMAND = "turn on the light"
SIZE = (512, 384)


def shapes_picture(seed: int) -> Image.Image:
    """A blue circle and a yellow star on a muted background."""
    rng = random.Random(seed)
    image = shapes.background(rng, "gradient", SIZE)
    draw = ImageDraw.Draw(image)
    draw.ellipse((60, 120, 210, 270), fill=shapes.COLOURS["blue"])
    star = shapes.outline("star", 85, 0.1)
    draw.polygon([(370 + x, 190 + y) for x, y in star], fill=shapes.COLOURS["yellow"])
    return image


def one_shape(seed: int) -> Image.Image:
    """A green triangle on grey stripes, which training never shows."""
    image = shapes.background(random.Random(seed), "stripes", SIZE)
    corners = [(256 + x, 205 + y) for x, y in shapes.outline("triangle", 130, 0.08)]
    ImageDraw.Draw(image).polygon(corners, fill=shapes.COLOURS["green"])
    return image


def page_picture() -> Image.Image:
    """Three lines of a shopping list in a font that training never shows."""
    image = Image.new("RGB", (480, 360), (250, 249, 244))
    draw = ImageDraw.Draw(image)
    font = fonts.load(PAGE_FONT, 58)
    for index, text in enumerate(PAGE_LINES):
        draw.text((40, 45 + index * 92), text, font=font, fill=(30, 30, 36))
    return image


def line_picture() -> Image.Image:
    """One printed line in the same font, as on a note that somebody photographs."""
    image = Image.new("RGB", (720, 72), (247, 244, 232))
    ImageDraw.Draw(image).text((36, 2), LINE, font=fonts.load(PAGE_FONT, 56), fill=(38, 34, 44))
    return image


def recording(seed: int) -> np.ndarray:
    """A command spoken by a held-out voice with a little noise, float32 at 16 kHz."""
    rng = random.Random(seed)
    pcm = speech.synthesise(phrases.spoken(COMMAND), "en-gb+m4", 145, 50, 1)
    quiet = np.random.default_rng(rng.getrandbits(32)).standard_normal(pcm.size + 9600) * 0.002
    quiet[4800 : 4800 + pcm.size] += 0.6 * pcm / np.abs(pcm).max()
    return quiet.astype(np.float32)


def write(folder: Path, seed: int) -> None:
    """Write all samples into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    shapes_picture(seed).save(folder / "shapes.png", optimize=True)
    one_shape(seed).save(folder / "shape.png", optimize=True)
    page = page_picture()
    page.save(folder / "page.png", optimize=True)
    page.save(folder / "page.pdf", resolution=72)
    line_picture().save(folder / "line.png", optimize=True)
    soundfile.write(folder / "command.flac", recording(seed), speech.RATE)
    dark = (18, 18, 18)
    lit = [shapes.COLOURS[name] for name in ("red", "green", "blue")]
    write_video(folder / "flashes.mp4", [dark, lit[0], dark, lit[1], dark, lit[2], dark])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args()
    write(options.folder, options.seed)
