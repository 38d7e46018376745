"""`./run figures documents-demo [PAGES]`: how well the demo model reads pages, by `facet ocr`.

Pages of its own kind: 1 to 8 lines of words, dates and sums in letters of at least 24 pixels, in
fonts and words that training never shows; each clean, and photographed (in perspective, with a
shadow, blurred, grainy). The character error rate stands beside the one the checkpoint publishes in
`scores.json`, with the goals of 1.5 and 3 times that. Blanks and line ends count as one blank.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from app.core.paths import demo_model_dir
from mlx_gemma4.demo_eval import character_error_rate
from tests.documents.paper_pages import photograph
from training import fonts, words
from training.lines import strip_size

PAGES = 30
LEAST_LETTER = 24
MOST_LINES = 8
GRID = (7, 9)  # shape of a page, in soft tokens of 70
CLEAN_GOAL, PHOTO_GOAL = 1.5, 3.0
_PITCH = 1.3  # of a letter's size, from line to line
_MARGIN = 0.06


@dataclass(frozen=True)
class Page:
    """A drawn page, RGB uint8 [h, w, 3], and what stands on it."""

    pixels: np.ndarray
    lines: tuple[str, ...]
    font: str


def draw(index: int) -> Page:
    """The page with this number, always the same."""
    rng = random.Random(7_000 + index)
    size = strip_size(rng, *GRID)
    name = rng.choice(fonts.available(fonts.HELD_OUT))
    lines = tuple(words.line(rng, 12, held_out=True) for _ in range(1 + index % MOST_LINES))
    width, height = size
    margin = round(_MARGIN * width)
    most = (height - 2 * margin) / (_PITCH * len(lines))
    longest = max(lines, key=lambda line: len(line))
    em = LEAST_LETTER
    while em < most and fonts.load(name, em + 1).getlength(longest) < width - 2 * margin:
        em += 1
    em = round(LEAST_LETTER + (em - LEAST_LETTER) * rng.uniform(0.3, 1.0))
    image = Image.new("RGB", size, "#FBFAF7")
    pen = ImageDraw.Draw(image)
    for row, line in enumerate(lines):
        place = (margin, margin + row * em * _PITCH)
        pen.text(place, line, "#1A1A1E", fonts.load(name, em))
    return Page(np.asarray(image), lines, name)


def write_pages(folder: Path, count: int) -> list[Page]:
    """Both kinds of each page below `folder`: clean/000.png and photographed/000.jpg."""
    pages = [draw(index) for index in range(count)]
    for kind in ("clean", "photographed"):
        (folder / kind).mkdir(parents=True)
    for index, page in enumerate(pages):
        Image.fromarray(page.pixels).save(folder / f"clean/{index:03}.png")
        height, width = page.pixels.shape[:2]
        # As large as the page is in the photo, its letters keep their pixels.
        size = (round(height / 0.78), round(width / 0.78))
        photo, _ = photograph(page.pixels, index, size)
        Image.fromarray(photo).save(folder / f"photographed/{index:03}.jpg", quality=92)
    return pages


def read(folder: Path, model: str, data: Path) -> tuple[list[str], float]:
    """What `facet ocr` reads on the pictures of a folder, and the seconds it took."""
    files = sorted(folder.iterdir())
    out = folder.with_name(f"{folder.name}-text")
    command = [sys.executable, "-m", "app", "ocr", *map(str, files), "--format", "md"]
    command += ["--model", model, "--out", str(out), "--data-dir", str(data)]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    texts = [out / f"{file.stem}.md" for file in files]
    missing = [text.name for text in texts if not text.is_file()]
    if missing:
        raise RuntimeError(f"{', '.join(missing)} not written: {done.stderr[-2000:]}")
    return [text.read_text(encoding="utf-8") for text in texts], seconds


def score(texts: Sequence[str], pages: Sequence[Page]) -> float:
    """Character error rate over all pages."""
    pairs = [
        (" ".join(text.split()), " ".join(" ".join(page.lines).split()))
        for text, page in zip(texts, pages, strict=True)
    ]
    return character_error_rate(pairs)


def measure(folder: Path, count: int, model: Path) -> dict[str, object]:
    """All figures; the pictures and texts stay in `folder`."""
    published = json.loads((model / "scores.json").read_text())["scores"]["pages"]["score"]
    pages = write_pages(folder, count)
    found: dict[str, object] = {"pages": count, "published_cer": published}
    for kind, times in (("clean", CLEAN_GOAL), ("photographed", PHOTO_GOAL)):
        texts, seconds = read(folder / kind, str(model), folder / "data")
        rate = score(texts, pages)
        found[kind] = {
            "cer": round(rate, 4),
            "goal": round(times * published, 4),
            "reached": rate <= times * published,
            "seconds_a_page": round(seconds / count, 2),
        }
    found["load"] = round(os.getloadavg()[0], 1)
    return found


def main(arguments: list[str]) -> int:
    count = int(arguments[0]) if arguments else PAGES
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), count, Path(demo_model_dir()))
    sys.stdout.write(json.dumps({"demo model on pages": found}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
