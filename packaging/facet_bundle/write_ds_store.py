"""Writes a `.DS_Store` with the packages ds-store and mac-alias; run with the tools on PYTHONPATH.

Usage: python write_ds_store.py JSON      (see dmg_face.py for the keys)
"""

import datetime
import json
import sys
from pathlib import PurePosixPath

from ds_store import DSStore  # pyright: ignore[reportMissingImports]
from mac_alias.alias import (  # pyright: ignore[reportMissingImports]
    ALIAS_KIND_FILE,
    Alias,
    TargetInfo,
    VolumeInfo,
)

_VIEW = {
    "viewOptionsVersion": 1,
    "arrangeBy": "none",
    "backgroundType": 2,  # a picture
    "backgroundColorRed": 1.0,
    "backgroundColorGreen": 1.0,
    "backgroundColorBlue": 1.0,
    "gridOffsetX": 0.0,
    "gridOffsetY": 0.0,
    "gridSpacing": 100.0,
    "iconSize": 128.0,
    "labelOnBottom": True,
    "scrollPositionX": 0.0,
    "scrollPositionY": 0.0,
    "showIconPreview": False,
    "showItemInfo": False,
    "textSize": 13.0,
}
_WINDOW = {
    "ContainerShowSidebar": False,
    "PreviewPaneVisibility": False,
    "ShowPathbar": False,
    "ShowSidebar": False,
    "ShowStatusBar": False,
    "ShowTabView": False,
    "ShowToolbar": False,
}


def picture_alias(order: dict) -> bytes:
    """An alias to the picture on the volume of that name."""
    path = PurePosixPath(order["picture"])
    folder, file = order["cnids"]
    date = datetime.datetime.fromtimestamp(order["date"], datetime.UTC)
    volume = VolumeInfo(
        order["volume"], date, b"H+", 5, 0, b"\0\0", posix_path=f"/Volumes/{order['volume']}"
    )
    target = TargetInfo(
        ALIAS_KIND_FILE,
        path.name,
        folder,
        file,
        date,
        b"\0" * 4,
        b"\0" * 4,
        folder_name=path.parent.name,
        cnid_path=[folder],
        carbon_path=f"{order['volume']}:{path.parent.name}:{path.name}",
        posix_path=f"/{path}",
    )
    return Alias(volume=volume, target=target).to_bytes()


def main(order: dict) -> None:
    """Write the store of the volume's top folder."""
    with DSStore.open(order["store"], "w+") as store:
        store["."]["bwsp"] = {**_WINDOW, "WindowBounds": order["bounds"]}
        store["."]["icvp"] = {**_VIEW, "backgroundImageAlias": picture_alias(order)}
        store["."]["icvl"] = (b"type", b"icnv")
        store["."]["vSrn"] = (b"long", 1)
        for name, place in sorted(order["icons"].items()):
            store[name]["Iloc"] = tuple(place)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
