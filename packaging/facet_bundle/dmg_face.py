"""How the disk image looks in the Finder: background picture, where the two icons lie.

The Finder reads both from `.DS_Store` and finds the picture through an alias: by its path on the
volume, and by the numbers (CNIDs) that the volume gave the folder and the file.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from facet_bundle import facts, icon, proc
from facet_bundle.tools import Tools

PICTURE = Path(".background/background.png")
STORE = ".DS_Store"
WIDTH, HEIGHT = 640, 400
# xorriso counts from 16 in the order of names, and nothing sorts before these three.
CNIDS = {STORE: 16, ".background": 17, "background.png": 18}
ICONS = {f"{facts.NAME}.app": (170, 190), "Applications": (470, 190)}
_PIXELS_PER_POINT = 2


def lay(folder: Path, tools: Tools) -> Path:
    """Write `.DS_Store` and the picture into `folder`; the same bytes every time."""
    picture = folder / PICTURE
    picture.parent.mkdir(parents=True)
    drawing = facts.PACKAGING / "dmg-background.svg"
    size = (WIDTH * _PIXELS_PER_POINT, HEIGHT * _PIXELS_PER_POINT)
    # 144 dots an inch: the Finder shows it at half its pixels, sharp on every screen
    icon.draw(drawing, size).convert("RGB").save(picture, dpi=(144, 144))
    order = {
        "store": str(folder / STORE),
        "volume": facts.NAME,
        "picture": PICTURE.as_posix(),
        "cnids": [CNIDS[".background"], CNIDS["background.png"]],
        "date": facts.FIXED_TIME,
        "bounds": f"{{{{200, 200}}, {{{WIDTH}, {HEIGHT + 28}}}}}",  # 28: the title bar
        "icons": ICONS,
    }
    script = Path(__file__).with_name("write_ds_store.py")
    environment = {**os.environ, "PYTHONPATH": str(tools.folder)}
    proc.run([sys.executable, script, json.dumps(order)], env=environment)
    for path in (picture, folder / STORE, picture.parent):
        os.utime(path, (facts.FIXED_TIME, facts.FIXED_TIME))
    return folder
