"""The app and the demo model, run from inside a bundle end to end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from facet_bundle import facts
from facet_bundle.audits.finding import Finding
from facet_bundle.layout import Bundle
from facet_bundle.twin import Twin

# Never loaded before the window shows: each costs start-up time or belongs to the engine.
HEAVY = ("mlx", "mlx_lm", "transformers", "cv2", "torch", "numba", "livekit", "docx")
# Shiboken's first lines are text inside its library in every build of it.
COMPILED_EACH_TIME = {"signature_bootstrap"}


EVAL_SET = facts.ROOT / "tests" / "data" / "demo-eval"


def heic_picture(folder: Path) -> Path:
    """A small red HEIC picture, encoded with this machine's own pillow-heif."""
    import pillow_heif
    from PIL import Image

    path = folder / "red.heic"
    heif = pillow_heif.from_pillow(Image.new("RGB", (64, 48), (220, 30, 30)))
    heif.save(path, quality=90)
    return path


def doctor(twin: Twin) -> list[Finding]:
    """`facet doctor` without a display: engine child, arithmetic, packages as they should be."""
    ran = twin.run("doctor", "--json", "--data-dir", twin.scratch / "data")
    try:
        sections = json.loads(ran.output)["sections"]
    except (ValueError, KeyError):
        text = f"status {ran.status}: {ran.errors[-900:]}"
        return [Finding("twin", "doctor", text)]
    facts_of = {item["name"]: item for section in sections for item in section["findings"]}
    wrong = [name for name, item in facts_of.items() if item["ok"] is False]
    if not demo_model(twin.bundle).is_dir() and "Demo model" in wrong:
        wrong.remove("Demo model")  # true, and not the bundle's fault
    found = [Finding("twin", "doctor", f"{name}: {facts_of[name]['value']}") for name in wrong]
    if facts_of.get("facet", {}).get("value") != facts.version():
        found.append(Finding("twin", "doctor", "does not know the app's version"))
    if not facts_of.get("Arithmetic", {}).get("ok"):
        found.append(Finding("twin", "doctor", "the engine process did not answer"))
    return found


def documents(twin: Twin) -> list[Finding]:
    """`facet ocr` on a PDF and a picture: the document worker, the engine and an export.

    The PDF has its own text; the picture is read by the model. That files come out is the gate;
    how well the demo reads is measured elsewhere.
    """
    samples = twin.bundle.resources / "assets" / "samples"
    out = twin.scratch / "read"
    files = [samples / "page.pdf", samples / "page.png"]
    ran = twin.run("ocr", *files, "--format", "docx", "--detail", "quick", "--out", out)
    if ran.status != 0:
        return [Finding("twin", "documents", f"status {ran.status}: {ran.errors[-900:]}")]
    written = sorted(path.name for path in out.glob("*.docx"))
    if len(written) != len(files):
        return [Finding("twin", "documents", f"{len(files)} files in, out came {written}")]
    return []


def demo_model(bundle: Bundle) -> Path:
    """The demo checkpoint inside a bundle."""
    return bundle.resources / "assets" / "demo-model"


def talk(twin: Twin) -> list[Finding]:
    """A picture with a question, then a spoken question about a picture, to the demo model.

    Through the app's own engine process. That answers come and who gives them is the gate here;
    how good they are is measured on the whole held-out set elsewhere, here it is only printed.
    """
    items = _items()
    turns = [[_part(*part) for part in item["turns"][0]] for item in items]
    request = {"model": str(demo_model(twin.bundle)), "turns": turns}
    seen = twin.probe("talk", json.dumps(request), window=False)
    found = [Finding("talk", "engine", text) for text in seen["failures"]]
    if not seen["engine"] or seen["window_has_mlx"]:
        found.append(Finding("talk", "engine", "does not run in a process of its own"))
    answers = [answer.strip() for answer in seen["answers"]]
    # A model of low score may end a turn at once, so one silent answer is no fault of the bundle.
    if len(answers) != len(items) or sum(map(bool, answers)) < len(items) / 2:
        found.append(Finding("talk", "answers", f"{answers}"))
    right = sum(answer == item["answer"] for answer, item in zip(answers, items, strict=False))
    print(f"       {right} of {len(items)} answers right: {answers}")
    return found


def _items(count: int = 4) -> list[dict[str, Any]]:
    """Held-out questions: half with a picture and text, half with a picture and speech."""
    listing = json.loads((EVAL_SET / "items.json").read_text(encoding="utf-8"))
    items = listing["items"] if isinstance(listing, dict) else listing
    single = [item for item in items if len(item["turns"]) == 1]
    return [
        item
        for task in ("seeing", "live")
        for item in [item for item in single if item["task"] == task][: count // 2]
    ]


def _part(kind: str, value: str) -> dict[str, str]:
    return {"text": value} if kind == "text" else {"kind": kind, "path": str(EVAL_SET / value)}


def screenshot_offscreen(twin: Twin) -> list[Finding]:
    """The window draws itself without a screen."""
    return _screenshot(twin, window=False)


def screenshot_window(twin: Twin) -> list[Finding]:
    """The window draws itself on a real X server or the Mac's screen."""
    return _screenshot(twin, window=True)


def first_paint(twin: Twin) -> list[Finding]:
    """What is loaded when the window first paints, and after how long."""
    seen = twin.startup(twin.scratch / "data")
    if "seconds" not in seen:
        return [Finding("startup", "window", f"never painted (status {seen.get('status')})")]
    loaded = {name.partition(".")[0] for name in seen["modules"]}
    took = f"{seen['seconds']:.2f} s, {seen['cpu']:.2f} s of CPU"
    print(f"       first paint after {took}, {len(seen['modules'])} modules")
    found = [
        Finding("startup", name, "is loaded before the first paint")
        for name in sorted(loaded & set(HEAVY))
    ]
    return found + [
        Finding("startup", name, "is compiled at every start")
        for name in sorted(set(seen["uncompiled"]) - COMPILED_EACH_TIME)
    ]


def _screenshot(twin: Twin, *, window: bool) -> list[Finding]:
    from PIL import Image

    picture = twin.scratch / f"window-{'screen' if window else 'offscreen'}.png"
    ran = twin.run(
        "--screenshot", picture, "--data-dir", twin.scratch / "data", window=window, timeout=120
    )
    if ran.status or not picture.is_file():
        return [Finding("twin", picture.name, f"status {ran.status}: {ran.errors[-600:]}")]
    with Image.open(picture) as image:
        colours = len(image.convert("RGB").resize((200, 150)).getcolors(40_000) or [])
        if image.width < 600 or colours < 5:
            return [Finding("twin", picture.name, f"{image.size}, {colours} colours: empty window")]
    return []


Check = tuple[str, Callable[[Twin], list[Finding]]]


def checks(bundle: Bundle) -> tuple[Check, ...]:
    """What to run; talking needs the demo model, which a checkout may not have."""
    always: tuple[Check, ...] = (
        ("facet doctor", doctor),
        ("window without a screen", screenshot_offscreen),
        ("window on a screen", screenshot_window),
        ("imports before the first paint", first_paint),
    )
    if not (demo_model(bundle) / "config.json").is_file():
        print("       no demo model in assets: the bundle is not asked anything")
        return always
    return (
        *always,
        ("documents: a PDF and a picture", documents),
        ("demo model: a picture, a spoken question", talk),
    )
