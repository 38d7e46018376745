"""The app and the demo model, run from inside a bundle end to end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from facet_bundle.audits.finding import Finding
from facet_bundle.twin import Twin

# Never loaded before the window shows: each costs start-up time or belongs to the engine.
HEAVY = ("mlx", "mlx_lm", "transformers", "cv2", "torch", "numba", "livekit", "reportlab", "docx")


def heic_picture(folder: Path) -> Path:
    """A small red HEIC picture, encoded with this machine's own pillow-heif."""
    import pillow_heif
    from PIL import Image

    path = folder / "red.heic"
    heif = pillow_heif.from_pillow(Image.new("RGB", (64, 48), (220, 30, 30)))
    heif.save(path, quality=90)
    return path


def doctor(twin: Twin) -> list[Finding]:
    """`facet doctor` ends well without a display."""
    ran = twin.run("doctor", "--data-dir", twin.scratch / "data")
    if ran.status or "Facet" not in ran.output:
        return [Finding("twin", "doctor", f"status {ran.status}: {ran.output[-900:]}")]
    return []


def screenshot_offscreen(twin: Twin) -> list[Finding]:
    """The window draws itself without a screen."""
    return _screenshot(twin, window=False)


def screenshot_window(twin: Twin) -> list[Finding]:
    """The window draws itself on a real X server or the Mac's screen."""
    return _screenshot(twin, window=True)


def first_paint(twin: Twin) -> list[Finding]:
    """What is loaded when the window first paints, and after how long."""
    seen = twin.probe("startup", "--data-dir", twin.scratch / "data", window=True)
    if "seconds" not in seen:
        return [Finding("startup", "window", f"never painted (status {seen.get('status')})")]
    loaded = {name.partition(".")[0] for name in seen["modules"]}
    print(f"       first paint after {seen['seconds']:.2f} s, {len(seen['modules'])} modules")
    return [
        Finding("startup", name, "is loaded before the first paint")
        for name in sorted(loaded & set(HEAVY))
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


CHECKS: tuple[tuple[str, Callable[[Twin], list[Finding]]], ...] = (
    ("facet doctor", doctor),
    ("window without a screen", screenshot_offscreen),
    ("window on a screen", screenshot_window),
    ("imports before the first paint", first_paint),
)
