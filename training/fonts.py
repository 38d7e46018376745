"""Free fonts from Debian packages, split by family into training and held-out ones.

The fonts are read where the packages put them; none is part of this repository. README.md names
the packages and licences.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

ROOTS = (Path("/usr/share/fonts"), Path("/usr/share/texmf/fonts"))

TRAIN = [
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSansCondensed",
    "DejaVuSansCondensed-Bold",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "LiberationSans-Regular",
    "LiberationSans-Bold",
    "LiberationSans-Italic",
    "LiberationSerif-Regular",
    "LiberationSerif-Bold",
    "LiberationSerif-Italic",
    "LiberationMono-Regular",
    "LiberationMono-Bold",
    "FreeSans",
    "FreeSansBold",
    "FreeSerif",
    "FreeSerifBold",
    "FreeSerifItalic",
    "FreeMono",
    "FreeMonoBold",
    "Roboto-Regular",
    "Roboto-Bold",
    "Roboto-Light",
    "Roboto-Italic",
    "Roboto-Medium",
    "RobotoCondensed-Regular",
    "RobotoCondensed-Bold",
    "Lato-Regular",
    "Lato-Bold",
    "Lato-Italic",
    "Lato-Medium",
    "Lato-Light",
    "Cantarell-Regular",
    "Cantarell-Bold",
    "Inconsolata",
    "FiraCode-Regular",
    "FiraCode-Bold",
    "EBGaramond12-Regular",
    "EBGaramond12-Italic",
    "LinLibertine_R",
    "LinLibertine_RB",
    "LinLibertine_RI",
    "LinBiolinum_R",
    "LinBiolinum_RB",
    "NimbusSans-Regular",
    "NimbusSans-Bold",
    "NimbusSans-Italic",
    "NimbusRoman-Regular",
    "NimbusRoman-Bold",
    "NimbusRoman-Italic",
    "NimbusMonoPS-Regular",
    "NimbusMonoPS-Bold",
    "NimbusSansNarrow-Regular",
    "P052-Roman",
    "P052-Bold",
    "P052-Italic",
    "C059-Roman",
    "C059-Bold",
    "URWBookman-Light",
    "URWBookman-Demi",
    "URWGothic-Book",
    "URWGothic-Demi",
    "Andika-Regular",
    "Andika-Bold",
    "Quicksand-Medium",
    "Quicksand-Bold",
    "Vollkorn-Regular",
    "Vollkorn-Bold",
    "Play-Regular",
    "Play-Bold",
    "OldStandard-Regular",
    "OldStandard-Bold",
    "Comfortaa-Regular",
    "Comfortaa-Bold",
    "texgyreheros-regular",
    "texgyretermes-regular",
    "texgyrepagella-regular",
    "texgyreadventor-regular",
    "Gentium-R",
    "Gentium-I",
    "Jura-Medium",
    "Jura-SemiBold",
]

HELD_OUT = [
    "Carlito-Regular",
    "Carlito-Bold",
    "Carlito-Italic",
    "Caladea-Regular",
    "Caladea-Bold",
    "OpenSans-Regular",
    "OpenSans-Semibold",
    "NotoSansMono-Regular",
    "NotoSansMono-Bold",
    "Tuffy",
    "Tuffy_Bold",
]


@lru_cache(maxsize=1)
def _files() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for root in ROOTS:
        for suffix in ("ttf", "otf"):
            for path in sorted(root.rglob(f"*.{suffix}")):
                found.setdefault(path.stem, path)
    return found


def available(names: list[str]) -> list[str]:
    """Those of `names` that are installed here, in order; FileNotFoundError if there is none."""
    present = [name for name in names if name in _files()]
    if not present:
        raise FileNotFoundError("None of the fonts is installed; see training/README.md.")
    return present


@lru_cache(maxsize=2048)
def load(name: str, size: int) -> ImageFont.FreeTypeFont:
    """A font face by file name without suffix, `size` in pixels, no ligatures or kerning tricks."""
    return ImageFont.truetype(str(_files()[name]), size, layout_engine=ImageFont.Layout.BASIC)
