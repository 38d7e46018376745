"""One answer, whichever way it is asked: one-shot, as a session, streamed, or by transformers."""

from pathlib import Path

import numpy as np
import pytest

from mlx_gemma4 import demo_eval
from mlx_gemma4.generate import Finish, GenerateOptions
from mlx_gemma4.inputs import AUDIO, IMAGE
from mlx_gemma4.media.images import load_image
from mlx_gemma4.media.sound import load_sound
from mlx_gemma4.sampling import SamplingOptions
from mlx_gemma4.session import ReplyOptions, Session

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "assets" / "demo-model"
ITEMS = demo_eval.read_items(ROOT / "tests" / "data" / "demo-eval")
OPTIONS = GenerateOptions(max_tokens=40, sampling=SamplingOptions(greedy=True), loop_guard=False)


@pytest.fixture(scope="module")
def loaded():
    from mlx_gemma4.loading import load

    return load(MODEL)


def first(task, count=1):
    return demo_eval.choose(ITEMS, [task], count)


def one_shot(loaded, item):
    return next(demo_eval.evaluate(*loaded, [item]))[1]


def reply(session):
    events = session.reply(ReplyOptions(OPTIONS))
    return "".join(event.text for event in events if not isinstance(event, Finish))


@pytest.mark.parametrize("task", ["seeing", "hearing", "chat", "lines"])
def test_a_session_answers_as_the_one_shot_path(loaded, task):
    for item in first(task, 2):
        session = Session(*loaded)
        session.sync(demo_eval.messages_of(item))
        said = reply(session)
        assert said
        assert one_shot(loaded, item).startswith(said)


def test_a_streamed_live_turn_answers_as_the_one_shot_path(loaded):
    for item in first("live", 4):
        session = Session(*loaded)
        moment = 0.0
        for kind, path in item.turns[0]:
            if kind == "image":
                session.push_frame(load_image(path), moment)
            else:
                pcm = load_sound(path).pcm
                for start in range(0, len(pcm), 1600):
                    session.push_audio(pcm[start : start + 1600], moment + start / 16_000)
                session.end_clip()
                moment += len(pcm) / 16_000
        said = reply(session)
        assert said
        assert said == one_shot(loaded, item)


def _reference(inputs):
    """Keyword arguments of the reference's generate."""
    import torch

    arguments = {
        "input_ids": torch.tensor(inputs.ids[None]).long(),
        "mm_token_type_ids": torch.tensor(inputs.token_types[None]).long(),
    }
    for (_, _, kind), item in zip(inputs.runs(), inputs.media, strict=True):
        if kind == IMAGE:
            arguments["pixel_values"] = torch.tensor(item.patches[None])
            arguments["image_position_ids"] = torch.tensor(item.positions[None]).long()
        elif kind == AUDIO:
            arguments["input_features"] = torch.tensor(item.features[None])
            valid = np.ones((1, item.valid), dtype=bool)
            arguments["input_features_mask"] = torch.tensor(valid)
    return arguments


@pytest.mark.parity
@pytest.mark.parametrize("task", ["seeing", "hearing", "live", "chat"])
def test_the_folder_loads_in_transformers_which_gives_the_same_answer(loaded, task):
    import torch
    from transformers import AutoModelForImageTextToText

    theirs = AutoModelForImageTextToText.from_pretrained(MODEL, dtype=torch.float32).eval()
    item = first(task)[0]
    inputs = loaded[1].inputs(demo_eval.messages_of(item))
    arguments = _reference(inputs)
    with torch.no_grad():
        ids = theirs.generate(**arguments, max_new_tokens=40, do_sample=False)
    answer = ids[0, len(inputs.ids) :].tolist()
    said = loaded[1].tokenizer.decode(
        [i for i in answer if i not in loaded[0].config.eos_token_ids]
    )
    assert one_shot(loaded, item).startswith(said)
