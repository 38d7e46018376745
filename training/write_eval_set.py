"""Write the held-out evaluation set: `python -m training.write_eval_set tests/data/demo-eval`.

Everything comes from the other side of the split: words, fonts, espeak variants and speeds, digit
strings, colour × shape × background combinations. `items.json` also records what each item was
made of, so that a test can prove the split.
"""

from __future__ import annotations

import argparse
import html
import json
import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from training import (
    config,
    fonts,
    lines,
    phrases,
    pictures,
    shapes,
    speech,
    talk,
    tasks,
    words,
)

COUNTS = {
    "lines": 60,
    "seeing": 80,
    "hearing": 50,
    "live": 40,
    "pages": 21,
    "boxes": 24,
    "video": 16,
    "chat": 60,
    "flite": 12,
    "office": 12,
}
STRENGTH = 1.0
PAGE_BUDGET = 280
OFFICE_FONTS = ("Carlito", "Caladea", "Open Sans", "Noto Sans Mono")
FLITE_VOICES = ("awb", "kal", "rms", "slt")


class Writer:
    """Collects items and writes their media beside `items.json`."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.rng = random.Random(seed)
        self.items: list[dict] = []

    def image(self, name: str, image: Image.Image, quality: int = 82) -> str:
        """Write a picture; its path inside the set."""
        path = self.folder / f"{name}.webp"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, quality=quality, method=4)
        return str(path.relative_to(self.folder))

    def sound(self, name: str, pcm: np.ndarray) -> str:
        """Write a recording; its path inside the set."""
        path = self.folder / f"{name}.ogg"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, pcm, speech.RATE, format="OGG", subtype="VORBIS")
        return str(path.relative_to(self.folder))

    def add(self, task: str, turns: list, answer: str, made_of: dict, **more: object) -> None:
        """Add an item."""
        entry = {"task": task, "turns": turns, "answer": answer, "made_of": made_of, **more}
        self.items.append(entry)

    def speak(self, name: str, text: str) -> tuple[str, dict]:
        """Say `text` with a held-out voice; the file and what it was made of."""
        voice, speed, pitch, gap = speech.voice(self.rng, held_out=True)
        pcm = speech.synthesise(phrases.spoken(text), voice, speed, pitch, gap)
        spoilt, _ = speech.spoil(self.rng, pcm, STRENGTH)
        return self.sound(name, spoilt), {"voice": voice, "speed": speed, "said": text}


def add_line(writer: Writer, index: int) -> None:
    rng = writer.rng
    grid = rng.choice(tasks.LINE_GRIDS)
    text = words.line(rng, min(20, int(grid[1] * 0.8)), held_out=True)
    font = rng.choice(fonts.available(fonts.HELD_OUT))
    image, _ = lines.strip(rng, text, lines.strip_size(rng, *grid), [font], STRENGTH)
    path = writer.image(f"lines/{index:03}", image)
    writer.add("lines", [[["image", path], ["text", "Read the text."]]], text, {"font": font})


def _scene_of(scene: shapes.Scene) -> dict:
    return {
        "background": scene.background,
        "things": [[thing.colour, thing.shape] for thing in scene.things],
    }


def add_seeing(writer: Writer, index: int, task: str = "seeing") -> None:
    rng = writer.rng
    kinds = ("box",) if task == "boxes" else ("colour", "shape", "see", "count", "relation")
    kind = kinds[index % len(kinds)]
    while True:
        many = {"count": rng.randint(1, 5), "relation": 2, "see": rng.randint(1, 2), "box": 2}
        scene = shapes.scene(rng, rng.choice(tasks.FRAME_SIZES), many.get(kind, 1), held=True)
        asked = shapes.question(rng, scene, kind)
        if asked:
            break
    path = writer.image(f"{task}/{index:03}", scene.image)
    turn = [["image", path], ["text", asked[0]]]
    writer.add(task, [turn], asked[1], {**_scene_of(scene), "kind": kind})


def add_hearing(writer: Writer, index: int) -> None:
    if index % 2:
        text = phrases.digit_string(writer.rng, held_out=True, size=1 + index // 2 % 7)
    else:
        text = phrases.COMMANDS[index // 2 * 7 % len(phrases.COMMANDS)]
    path, made_of = writer.speak(f"hearing/{index:03}", text)
    turn = [["audio", path], ["text", "Transcribe the recording."]]
    writer.add("hearing", [turn], text, made_of)


def add_live(writer: Writer, index: int) -> None:
    rng = writer.rng
    kind = ("colour", "shape", "see", "count")[index % 4]
    count = {"count": rng.randint(1, 5), "see": rng.randint(1, 2)}.get(kind, 1)
    scene = shapes.scene(rng, rng.choice(tasks.FRAME_SIZES), count, held=True)
    answers = {
        "colour": scene.things[0].colour.capitalize() + ".",
        "shape": f"A {scene.things[0].shape}.",
        "count": shapes.NUMBERS[len(scene.things)].capitalize() + ".",
        "see": shapes.describe(scene.things),
    }
    frame = ["image", writer.image(f"live/{index:03}", scene.image)]
    path, made_of = writer.speak(f"live/{index:03}", rng.choice(phrases.QUESTIONS[kind]))
    turn = [frame, ["audio", path]] if index % 3 else [["audio", path], frame]
    writer.add("live", [turn], answers[kind], {**made_of, **_scene_of(scene)})


def add_page(writer: Writer, index: int) -> None:
    rng = writer.rng
    texts = [words.line(rng, 12, held_out=True) for _ in range(2 + index % 7)]
    font = rng.choice(fonts.available(fonts.HELD_OUT))
    size = lines.strip_size(rng, *rng.choice(tasks.PAGE_GRIDS[PAGE_BUDGET]), PAGE_BUDGET)
    image, _ = lines.page(rng, texts, size, [font], STRENGTH)
    image = pictures.resize(image, PAGE_BUDGET)  # larger files say no more to the model
    path = writer.image(f"pages/{index:03}", image, quality=60)
    turn = [["image", path], ["text", "Read the page."]]
    writer.add("pages", [turn], "\n".join(texts), {"font": font}, budget=PAGE_BUDGET)


def write_video(path: Path, colours: list[tuple[int, int, int]], fps: float = 1.0) -> None:
    """One plain frame a colour, as MP4 (OpenCV's own MPEG-4 encoder)."""
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    coder = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps, (320, 180))
    if not coder.isOpened():
        raise OSError(f"cannot write {path}")
    for red, green, blue in colours:
        frame = np.empty((180, 320, 3), dtype=np.uint8)
        frame[:] = (blue, green, red)
        coder.write(frame)
    coder.release()


def add_video(writer: Writer, index: int) -> None:
    rng = writer.rng
    colours = rng.sample(tasks.COLOUR_NAMES, 1 + index % 4)
    dark = (18, 18, 18)
    frames = []
    for colour in colours:
        frames += [dark] * rng.randint(1, 2) + [shapes.COLOURS[colour]] * rng.randint(1, 2)
    path = writer.folder / f"video/{index:03}.mp4"
    write_video(path, [*frames, dark])
    if index % 2:
        asked, answer = "Which colour came first?", colours[0].capitalize() + "."
    else:
        asked = "How many flashes were there?"
        answer = shapes.NUMBERS[len(colours)].capitalize() + "."
    turn = [["video", str(path.relative_to(writer.folder))], ["text", asked]]
    writer.add("video", [turn], answer, {"colours": colours})


def add_chat(writer: Writer, _index: int) -> None:
    asked, answer = talk.exchange(writer.rng, held_out=True)
    writer.add("chat", [[["text", asked]]], answer, {})


def add_flite(writer: Writer, index: int) -> None:
    """A voice of another family; without a goal."""
    text = phrases.digit_string(writer.rng, True, 4) if index % 2 else phrases.COMMANDS[index * 2]
    voice = FLITE_VOICES[index % len(FLITE_VOICES)]
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "out.wav"
        command = ["flite", "-voice", voice, "-t", phrases.spoken(text), "-o", str(wav)]
        subprocess.run(command, check=True, capture_output=True)
        pcm, rate = soundfile.read(wav, dtype="float32")
    import soxr

    pcm = np.pad(soxr.resample(pcm, rate, speech.RATE), 4000) * 0.6
    turn = [
        ["audio", writer.sound(f"flite/{index:03}", pcm)],
        ["text", "Transcribe the recording."],
    ]
    writer.add("flite", [turn], text, {"voice": voice, "said": text})


def office_strip(text: str, font: str, points: int) -> Image.Image:
    """A line of text as LibreOffice sets it, cut out of its page with a margin."""
    import pypdfium2

    page = f'<p style="font-family:{font};font-size:{points}pt">{html.escape(text)}</p>'
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "line.html"
        source.write_text(f'<meta charset="utf-8">{page}')
        profile = f"-env:UserInstallation={(Path(folder) / 'profile').as_uri()}"
        command = ["soffice", "--headless", profile, "--infilter=HTML (StarWriter)"]
        command += ["--convert-to", "pdf:writer_pdf_Export", "--outdir", folder, str(source)]
        subprocess.run(command, check=True, capture_output=True)
        document = pypdfium2.PdfDocument(source.with_suffix(".pdf"))
        image = document[0].render(scale=200 / 72).to_pil().convert("RGB")
        document.close()
    ink = np.argwhere(np.asarray(image.convert("L")) < 128)
    (top, left), (bottom, right) = ink.min(axis=0), ink.max(axis=0)
    margin = round(0.3 * (bottom - top))
    return image.crop((left - margin, top - margin, right + margin, bottom + margin))


def add_office(writer: Writer, index: int) -> None:
    """Text set by LibreOffice; without a goal."""
    text = words.line(writer.rng, 18, held_out=True, least=9)
    font = OFFICE_FONTS[index % len(OFFICE_FONTS)]
    path = writer.image(f"office/{index:03}", office_strip(text, font, 14 + index))
    writer.add("office", [[["image", path], ["text", "Read the text."]]], text, {"font": font})


MAKERS: dict[str, Callable[[Writer, int], None]] = {
    "lines": add_line,
    "seeing": add_seeing,
    "hearing": add_hearing,
    "live": add_live,
    "pages": add_page,
    "boxes": lambda writer, index: add_seeing(writer, index, "boxes"),
    "video": add_video,
    "chat": add_chat,
    "flite": add_flite,
    "office": add_office,
}


def write(folder: Path, seed: int, only: list[str] | None) -> None:
    """Write the set anew; with `only`, just these tasks of it, and keep the others."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = json.loads((folder / "items.json").read_text())["items"] if only else []
    items = []
    for task, count in COUNTS.items():
        if only and task not in only:
            items += [item for item in kept if item["task"] == task]
            continue
        shutil.rmtree(folder / task, ignore_errors=True)
        writer = Writer(folder, seed + len(items))
        for index in range(count):
            MAKERS[task](writer, index)
        items += writer.items
    (folder / "items.json").write_text(json.dumps({"items": items}, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=config.SEED + 7)
    parser.add_argument("--task", action="append", choices=tuple(COUNTS), help="only this task")
    options = parser.parse_args()
    write(options.folder, options.seed, options.task)
