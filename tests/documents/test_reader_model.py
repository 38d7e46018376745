"""The model that reads pages: the instruction is run once, the next page is encoded ahead."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from app.core.commands import ReadDocument
from app.core.errors import AppError
from app.core.events import Capabilities, ModelInfo
from app.documents.types import PageFacts, PagePicture, ReadingDetail
from app.engine.chat import LoadedModel
from app.engine.document_pages import LoadedPage
from app.engine.jobs import JobContext
from app.engine.page_reader import PageReader, auto_detail


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    from mlx_gemma4 import load
    from mlx_gemma4.testing import random_checkpoint

    folder: Path = random_checkpoint(tmp_path_factory.mktemp("model") / "e2b", "e2b")
    model, processor = load(str(folder))
    info = ModelInfo(str(folder), "Tiny", capabilities=Capabilities(image=True))
    return LoadedModel(model, processor, info, 2048, OrderedDict())


def page(number: int) -> LoadedPage:
    noise = np.random.default_rng(number).integers(0, 255, (96, 96, 3), np.uint8)
    picture = PagePicture(noise.tobytes(), 96, 96)
    return LoadedPage(number, ReadingDetail.QUICK, (picture,))


def test_pages_share_the_instruction_and_are_encoded_ahead(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ReadDocument("job", "x.pdf", detail="quick", language="German")
    reader = PageReader(loaded, job, JobContext("job"))
    object.__setattr__(reader._options.generate, "max_tokens", 8)
    reports = []
    sync = reader.session.sync
    monkeypatch.setattr(reader.session, "sync", lambda *a, **k: reports.append(sync(*a, **k)))
    texts = []
    for number in range(3):
        pieces = []
        for piece in reader.read(page(number), 0):
            pieces.append(piece)
            if len(pieces) == 1:
                reader.encode(page(number + 1))
        assert pieces[-1].finish in ("stop", "length", "loop")
        texts.append("".join(piece.text for piece in pieces))
    instruction, first, second, third = reports
    assert instruction.reused == 0
    assert instruction.run > 20
    # Each page goes back to the instruction's end and runs only its picture.
    # (the mark that begins a picture is the same on every page, and may be kept as well).
    reused = {first.reused, second.reused, third.reused}
    assert reused <= {instruction.run, instruction.run + 1}
    assert first.encoded == 1
    assert second.encoded == third.encoded == 0
    # A page reads the same whatever was read before it.
    fresh = PageReader(loaded, job, JobContext("job"))
    object.__setattr__(fresh._options.generate, "max_tokens", 8)
    assert "".join(piece.text for piece in fresh.read(page(2), 0)) == texts[2]


def test_a_model_without_eyes_is_refused_in_a_sentence(loaded: LoadedModel) -> None:
    blind = LoadedModel(
        loaded.model, loaded.processor, ModelInfo("x", "Blind"), 2048, OrderedDict()
    )
    with pytest.raises(AppError, match="cannot see"):
        PageReader(blind, ReadDocument("job", "x.pdf"), JobContext("job"))


def test_only_the_demo_chooses_the_detail_for_a_page(loaded: LoadedModel) -> None:
    page = PageFacts(1, 480, 360, letter_height=30, suggested=ReadingDetail.FINE)
    assert auto_detail(loaded, page) is ReadingDetail.FINE
    taught = SimpleNamespace(config=replace(loaded.model.config, label="Demo (tiny)"))
    demo = LoadedModel(taught, loaded.processor, ModelInfo("x", "Demo"), 2048, OrderedDict())
    by_letter = {0: "normal", 20: "normal", 30: "light", 60: "quick"}
    for height, detail in by_letter.items():
        assert auto_detail(demo, replace(page, letter_height=height)) == ReadingDetail(detail)
