"""The checkpoints people ask for, as data: published sizes in bytes and what each takes in.

Sizes of the safetensors as published; the 12B ones are rounded. Checkpoints from quantisation-aware
training (QAT) and the 12B at 6 and 8 bits stand without a size: the download itself tells it. The
verdict for a machine comes from the planner; what a downloaded checkpoint really takes in is read
from its own files.
"""

from __future__ import annotations

from dataclasses import dataclass

GB = 1 << 30


@dataclass(frozen=True, slots=True)
class KnownModel:
    """One checkpoint of the table.

    architecture and quant name it for the planner ("e4b", "4bit"); size in bytes, 0 where it is not
    known before the download; recommended_from: bytes of memory from which it is the one to
    suggest, 0 for never.
    """

    repo: str
    label: str
    architecture: str
    quant: str
    size: int
    hears: bool
    recommended_from: int = 0


def _family(
    architecture: str, stem: str, label: str, hears: bool, sizes: dict[str, int], best_from: int
) -> tuple[KnownModel, ...]:
    return tuple(
        KnownModel(
            repo=f"mlx-community/{stem}-{quant}",
            label=f"{label} · {quant.replace('bit', '-bit')}",
            architecture=architecture,
            quant=quant,
            size=size,
            hears=hears,
            recommended_from=best_from if quant == "4bit" else 0,
        )
        for quant, size in sizes.items()
    )


_TABLE: tuple[KnownModel, ...] = (
    *_family(
        "e2b",
        "gemma-4-e2b-it",
        "Gemma 4 E2B",
        True,
        {
            "4bit": 3_580_765_126,
            "6bit": 4_739_998_662,
            "8bit": 5_899_232_198,
            "bf16": 10_246_357_958,
        },
        8 * GB,
    ),
    *_family(
        "e4b",
        "gemma-4-e4b-it",
        "Gemma 4 E4B",
        True,
        {
            "4bit": 5_216_992_212,
            "6bit": 7_090_961_364,
            "8bit": 8_964_930_516,
            "bf16": 15_992_314_836,
        },
        16 * GB,
    ),
    *_family(
        "12b",
        "gemma-4-12B-it",
        "Gemma 4 12B",
        True,
        {"4bit": 10_990_000_000, "6bit": 0, "8bit": 0, "bf16": 24_000_000_000},
        24 * GB,
    ),
    *_family(
        "26b",
        "gemma-4-26b-a4b-it",
        "Gemma 4 26B-A4B",
        False,
        {
            "4bit": 15_608_614_044,
            "6bit": 21_781_015_708,
            "8bit": 27_953_417_372,
            "bf16": 51_611_872_412,
        },
        32 * GB,
    ),
    *_family(
        "31b",
        "gemma-4-31b-it",
        "Gemma 4 31B",
        False,
        {
            "4bit": 18_411_755_224,
            "6bit": 26_087_306_968,
            "8bit": 33_762_858_712,
            "bf16": 62_546_177_752,
        },
        64 * GB,
    ),
)


_QAT_TABLE: tuple[KnownModel, ...] = tuple(
    KnownModel(
        f"mlx-community/gemma-4-{stem}-it-qat-{quant}",
        f"Gemma 4 {stem} · QAT {quant.replace('bit', '-bit')}",
        stem.split("-", 1)[0].lower(),
        quant,
        0,
        hears,
    )
    for stem, hears in (
        ("E2B", True),
        ("E4B", True),
        ("12B", True),
        ("26B-A4B", False),
        ("31B", False),
    )
    for quant in ("4bit", "8bit")
)


def known_models() -> tuple[KnownModel, ...]:
    """The table, small ones first."""
    return _TABLE + _QAT_TABLE


def known_model(repo: str) -> KnownModel | None:
    """The entry of a repo; spelling of capitals does not matter."""
    return next((model for model in known_models() if model.repo.lower() == repo.lower()), None)
