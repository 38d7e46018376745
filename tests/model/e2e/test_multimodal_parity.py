"""The same real files through our processor and model and through transformers': prompts, tensors,
greedy replies of 64 tokens.

A position whose two best reference logits lie closer than 1e-3 is excluded and counted: there the
order is a matter of rounding. The media placeholders are kept from being sampled on both sides, as
a random model would pick them.
"""

from dataclasses import replace

import mlx.core as mx
import numpy as np
import pytest
import soundfile
import torch
from e2e_oracle import Oracle, causal_full_layers, load_model
from PIL import Image as Pillow

from mlx_gemma4 import load
from mlx_gemma4.cli import main
from mlx_gemma4.generate import Decoder, GenerateOptions
from mlx_gemma4.inputs import ModelInputs
from mlx_gemma4.messages import Audio, Image, Video
from mlx_gemma4.prefill import prefill
from mlx_gemma4.processor import MediaOptions
from mlx_gemma4.sampling import SamplingOptions

pytestmark = pytest.mark.parity

STEPS = 64
TIE = 1e-3
FRAMES = 3
OPTIONS = MediaOptions(image_budget=70, video_frames=FRAMES, video_sound=False)

TURN = "<bos><|turn>user\n{}<turn|>\n<|turn>model\n"
SEEING = {
    "image": "<|image|>What is in the picture?",
    "two images": "<|image|>and<|image|>Compare the two.",
    "video": "Look: <|video|>What happens?",
}
HEARING = {
    "audio": "<|audio|>Write down what was said.",
    "mixed": "<|image|>with<|audio|>and<|video|>then<|image|><|audio|>Describe all of it.",
}
# Where the mixed case runs it covers two pictures of different shape as well.
CASES = [
    *((arch, case) for arch in ("e2b", "e4b", "12b") for case in ("image", "video")),
    *((arch, case) for arch in ("26b", "31b") for case in SEEING),
    *((arch, case) for arch in ("e2b", "e4b", "12b") for case in HEARING),
]


class Pair:
    """Our model and the reference's over one checkpoint."""

    def __init__(self, arch, folder):
        self.arch, self.folder = arch, folder
        self.model, self.processor = load(folder)
        config = self.model.config
        self.forbidden = sorted(config.soft_token_ids)
        self.model.config = replace(config, suppress_token_ids=tuple(self.forbidden))
        self.theirs = load_model(folder)
        self.oracle = Oracle(folder, unified=config.unified, budget=70, num_frames=FRAMES)


@pytest.fixture(scope="module")
def pairs(checkpoints):
    made = {}

    def pair(arch):
        if arch not in made:
            made[arch] = Pair(arch, checkpoints[arch])
        return made[arch]

    return pair


@pytest.fixture(autouse=True)
def _reference(monkeypatch):
    causal_full_layers(monkeypatch)
    with torch.no_grad():
        yield


def prompts(pair, case, files):
    """The case as our inputs and as the reference's tensors."""
    text = TURN.format((SEEING | HEARING)[case])
    pictures, sounds, videos = [files.photo, files.banner], [files.voice, files.word], [files.video]
    queues = {"<|image|>": pictures, "<|audio|>": sounds, "<|video|>": videos}
    kinds = {"<|image|>": Image, "<|audio|>": Audio, "<|video|>": Video}
    used = {mark: queue[: text.count(mark)] for mark, queue in queues.items()}
    rest = {mark: list(queue) for mark, queue in used.items()}
    order = sorted((i, m) for m in queues for i in range(len(text)) if text.startswith(m, i))
    parts = [kinds[mark](rest[mark].pop(0)) for _, mark in order]
    ours = pair.processor.raw(text, parts, OPTIONS)
    waves = [soundfile.read(path, dtype="float32")[0] for path in used["<|audio|>"]]
    theirs = pair.oracle(text, used["<|image|>"], waves, used["<|video|>"])
    return ours, theirs


def reference_reply(pair, tensors, forbidden=()):
    """Greedy ids of the reference and the gap between its two best logits at each step."""
    out = pair.theirs.generate(
        **tensors,
        attention_mask=torch.ones_like(tensors["input_ids"]),
        do_sample=False,
        max_new_tokens=STEPS,
        suppress_tokens=list(forbidden) or None,
        output_scores=True,
        return_dict_in_generate=True,
    )
    ids = out.sequences[0, tensors["input_ids"].shape[1] :].numpy()
    best = torch.stack(out.scores)[:, 0].topk(2).values
    return ids, (best[:, 0] - best[:, 1]).numpy()


def our_reply(pair, inputs):
    """Greedy ids as `generate` makes them: chunked prefill, cache, one-ahead decoding."""
    cache = pair.model.make_cache()
    steps = prefill(pair.model, inputs, cache, chunk=48)
    try:
        while True:
            next(steps)
    except StopIteration as end:
        hidden = end.value
    greedy = GenerateOptions(STEPS, SamplingOptions(greedy=True), loop_guard=False)
    decoder = Decoder(pair.model, pair.processor.tokenizer, greedy)
    return np.array([step.token for step in decoder.run(hidden, cache, inputs.ids)])


def assert_same_prompt(ours, theirs):
    assert np.array_equal(ours.ids, theirs["input_ids"][0])
    assert np.array_equal(ours.token_types, theirs["mm_token_type_ids"][0])
    tensors = {1: "pixel_values", 2: "pixel_values_videos", 3: "input_features"}
    rows = {kind: iter(theirs.get(name, ())) for kind, name in tensors.items()}
    for (_, _, kind), item in zip(ours.runs(), ours.media, strict=True):
        mine = item.features if kind == 3 else item.patches
        assert mine.tobytes() == next(rows[kind])[: len(mine)].numpy().tobytes()


@pytest.mark.parametrize(("arch", "case"), CASES)
def test_greedy_reply_equals_reference(pairs, files, record_property, arch, case):
    pair = pairs(arch)
    ours, theirs = prompts(pair, case, files)
    assert_same_prompt(ours, theirs)

    want, gaps = reference_reply(pair, theirs, pair.forbidden)
    clear = gaps >= TIE
    record_property("excluded_ties", int((~clear).sum()))
    assert clear.mean() > 0.9

    # Judged position by position on the reference's own reply, so that no tie spoils the rest.
    together = ModelInputs(
        np.concatenate([ours.ids, want[:-1]]).astype(np.int32),
        np.concatenate([ours.token_types, np.zeros(len(want) - 1, np.uint8)]),
        ours.media,
    )
    logits = np.array(pair.model.forward_logits(together))[len(ours.ids) - 1 :]
    logits[:, pair.forbidden] = -np.inf
    assert (logits.argmax(axis=1) == want)[clear].all()

    # And as a free run, up to the first tie.
    upto = len(want) if clear.all() else int(np.argmin(clear))
    assert np.array_equal(our_reply(pair, ours)[:upto], want[:upto])


@pytest.mark.parametrize("arch", ["e2b", "12b"])
def test_command_line_writes_the_reference_reply(pairs, files, capsys, arch):
    """The text of `mlx-gemma4 generate` is the text of the reference's ids."""
    pair = pairs(arch)
    text = "<|image|>and<|image|>Compare the two."
    theirs = pair.oracle("<bos>" + text, [files.photo, files.banner])
    want, gaps = reference_reply(pair, theirs)
    stop = np.flatnonzero(np.isin(want, pair.forbidden) | (gaps < TIE))
    upto = int(stop[0]) if stop.size else len(want)
    images = [option for path in (files.photo, files.banner) for option in ("--image", str(path))]
    code = main(
        [
            *("generate", "--model", str(pair.folder), "--raw", "--prompt", text),
            *images,
            *("--image-tokens", "70", "--temperature", "0", "--max-tokens", str(upto)),
        ]
    )
    assert code == 0
    decoded = pair.processor.tokenizer.stream()
    expected = "".join(decoded.push(int(token)) for token in want[:upto]) + decoded.finish()
    assert capsys.readouterr().out.strip() == expected.strip()


@pytest.mark.parametrize("arch", ["e2b", "26b", "12b"])
def test_pictures_matter(pairs, files, arch):
    """Guards the comparison: another picture of the same size gives other logits."""
    pair = pairs(arch)
    with Pillow.open(files.photo) as photo:
        mirrored = photo.transpose(Pillow.Transpose.FLIP_LEFT_RIGHT)
    first, second = (
        pair.model.forward_logits(pair.processor.raw("<|image|>", [Image(source)], OPTIONS))[-1]
        for source in (files.photo, mirrored)
    )
    assert float(mx.abs(first - second).max()) > 1e-3
