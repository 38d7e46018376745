"""Messages and media to model inputs: expansion, splitting, notices, refusals, configurations."""

import json
import subprocess

import numpy as np
import pytest
import soundfile

from mlx_gemma4.errors import ConfigError, MediaError, PromptError
from mlx_gemma4.inputs import AudioClip, ImagePatches, ModelInputs, media_runs
from mlx_gemma4.messages import Audio, Image, Text, ToolCall, ToolResult, Video, message
from mlx_gemma4.processor import MediaOptions, Processor
from mlx_gemma4.testing import random_checkpoint, tiny_config, tiny_tokenizer, write_tokenizer
from mlx_gemma4.tokenizer import Tokenizer

PIXELS = np.full((48, 96, 3), 90, np.uint8)
QUIET = MediaOptions(video_frames=2, video_sound=False)


def processor(arch: str, **raw) -> Processor:
    return Processor(Tokenizer(tiny_tokenizer()), tiny_config(arch), raw)


def noise(seconds: float) -> np.ndarray:
    samples = int(seconds * 16_000)
    return np.random.default_rng(0).standard_normal(samples).astype(np.float32) * 0.1


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    folder = tmp_path_factory.mktemp("video")
    seen = ["-f", "lavfi", "-i", "testsrc=s=96x64:r=4:d=6"]
    heard = ["-f", "lavfi", "-i", "sine=frequency=500:duration=6"]
    make = ["ffmpeg", "-v", "error", "-y"]
    subprocess.run([*make, *seen, *heard, str(folder / "loud.mp4")], check=True)
    subprocess.run([*make, *seen, str(folder / "mute.mp4")], check=True)
    return folder


def text_of(made: Processor, inputs: ModelInputs) -> str:
    """The prompt with each run of soft tokens as a count."""
    pieces, start = [], 0
    for begin, end, kind in inputs.runs():
        pieces.append(made.tokenizer.decode(inputs.ids[start:begin], control=True))
        pieces.append(f"[{'.iva'[kind]}{end - begin}]")
        start = end
    return "".join([*pieces, made.tokenizer.decode(inputs.ids[start:], control=True)])


def test_a_picture_stands_between_its_marks():
    made = processor("e2b")
    inputs = made.inputs([message("user", Image(PIXELS, budget=70), "What is it?")])
    assert text_of(made, inputs) == (
        "<bos><|turn>user\n<|image>[i55]<image|>What is it?<turn|>\n<|turn>model\n"
    )
    assert isinstance(inputs.media[0], ImagePatches)
    assert inputs.media[0].size == (48, 96)


def test_media_keep_their_order_and_text_its_place():
    made = processor("e4b")
    inputs = made.inputs(
        [message("user", "a ", Image(PIXELS, budget=70), "b", Audio(noise(1)), Image(PIXELS), "c")],
        options=MediaOptions(image_budget=140),
    )
    assert text_of(made, inputs) == (
        "<bos><|turn>user\na<|image>[i55]<image|>b<|audio>[a25]<audio|><|image>[i128]<image|>c"
        "<turn|>\n<|turn>model\n"
    )
    assert [type(item) for item in inputs.media] == [ImagePatches, AudioClip, ImagePatches]


def test_a_video_names_the_time_of_each_frame(video):
    made = processor("31b")
    inputs = made.inputs([message("user", Video(video / "mute.mp4"), "Go")], options=QUIET)
    assert text_of(made, inputs) == (
        "<bos><|turn>user\n00:00 <|image>[v60]<image|> 00:03 <|image>[v60]<image|>Go"
        "<turn|>\n<|turn>model\n<|channel>thought\n<channel|>"
    )


def test_the_sound_track_of_a_video_is_heard(video):
    made = processor("e2b")
    options = MediaOptions(video_frames=1)
    inputs = made.inputs([message("user", Video(video / "loud.mp4"))], options=options)
    assert "[v60]<image|><|audio>[a1" in text_of(made, inputs)
    assert inputs.media[-1].seconds == pytest.approx(6, abs=0.1)
    assert inputs.notices == ()


def test_notices_of_videos(video):
    options = MediaOptions(video_frames=1)
    deaf = processor("26b").inputs([message("user", Video(video / "loud.mp4"))], options=options)
    assert "does not hear" in deaf.notices[0]
    mute = processor("e2b").inputs([message("user", Video(video / "mute.mp4"))], options=options)
    assert "has no sound track" in mute.notices[0]
    assert len(mute.media) == 1


@pytest.mark.parametrize("arch", ["e2b", "12b"])
def test_long_sound_is_split_with_a_notice(arch, tmp_path):
    soundfile.write(tmp_path / "memo.wav", noise(65), 16_000)
    made = processor(arch)
    inputs = made.inputs([message("user", Audio(tmp_path / "memo.wav"), "Write it down")])
    assert len(inputs.media) == 3
    assert sum(clip.seconds for clip in inputs.media) == pytest.approx(65)
    assert all(clip.soft_tokens <= 750 for clip in inputs.media)
    (notice,) = inputs.notices
    assert notice.startswith('"memo.wav" is 65 seconds long; the model hears at most 30 seconds')
    assert notice.endswith("so it was split at pauses into 3 clips.")


def test_thirty_seconds_are_one_clip():
    (clip,), notice = processor("e2b").clips(noise(30))
    assert clip.soft_tokens == 750
    assert notice is None


@pytest.mark.parametrize(("arch", "width"), [("e2b", 128), ("12b", 640)])
def test_the_stream_of_a_model_makes_its_kind_of_frames(arch, width):
    made = processor(arch)
    stream = made.mel_stream()
    stream.push(noise(0.3))
    assert stream.clip().features.shape[1] == width
    assert stream.clip().key == made.clip(noise(0.3)).key


def test_pictures_in_tool_results():
    made = processor("e2b")
    inputs = made.inputs(
        [
            message("user", "Look"),
            message("model", ToolCall("camera", {}, "1")),
            message("tool", ToolResult("camera", (Text("ok"), Image(PIXELS, budget=70)), "1")),
        ]
    )
    assert "<|image>[i55]<image|>" in text_of(made, inputs)


# Raw prompts


def test_raw_text_gets_one_bos():
    made = processor("e2b")
    plain = made.raw("Once")
    assert plain.ids[0] == 2
    assert np.array_equal(made.raw("<bos>Once").ids, plain.ids)


@pytest.mark.parametrize(
    ("text", "media", "match"),
    [
        ("no place", [Image(PIXELS)], "0 media placeholders but 1"),
        ("<|image|>", [], "1 media placeholders but 0"),
        ("<|audio|>", [Image(PIXELS)], "stands where an image was given"),
    ],
)
def test_raw_placeholders_must_match(text, media, match):
    with pytest.raises(PromptError, match=match):
        processor("e2b").raw(text, media)


def test_a_user_cannot_type_a_placeholder():
    made = processor("e2b")
    inputs = made.inputs([message("user", "<|image|><|image>")])
    assert not inputs.token_types.any()
    assert made.config.image_token_id not in inputs.ids


# Media a model cannot take


@pytest.mark.parametrize("arch", ["26b", "31b"])
def test_deaf_models_say_who_hears(arch):
    made = processor(arch)
    for attempt in (
        lambda: made.inputs([message("user", Audio(noise(1)))]),
        lambda: made.clip(noise(1)),
        made.mel_stream,
    ):
        with pytest.raises(MediaError, match="E2B, E4B or 12B"):
            attempt()


def test_text_only_checkpoints_say_what_they_lack():
    raw = json.loads(json.dumps(tiny_json_without_media()))
    from mlx_gemma4.config import Gemma4Config

    made = Processor(Tokenizer(tiny_tokenizer()), Gemma4Config.from_json(raw))
    assert not made.sees
    assert not made.hears
    with pytest.raises(MediaError, match="takes no pictures, it holds the text part only"):
        made.image(PIXELS)
    with pytest.raises(MediaError, match="takes no videos"):
        made.inputs([message("user", Video("any.mp4"))])


def tiny_json_without_media():
    from mlx_gemma4.testing import tiny_json

    return tiny_json("e2b") | {"vision_config": None, "audio_config": None}


@pytest.mark.parametrize(
    "attempt",
    [
        lambda p: p.image(PIXELS, budget=100),
        lambda p: p.clip(noise(30.01)),
        lambda p: p.clips(np.zeros(0, np.float32)),
        lambda p: p.clips(np.full(900, np.nan, np.float32)),
        lambda p: p.inputs([message("user", Image("gone.png"))]),
        lambda p: p.inputs([message("user", Audio("gone.wav"))]),
        lambda p: p.inputs([message("user", Video("gone.mp4"))]),
    ],
)
def test_bad_media_are_refused_with_a_sentence(attempt):
    with pytest.raises(MediaError) as caught:
        attempt(processor("e2b"))
    assert str(caught.value).endswith(".")


def test_the_longest_thinnest_picture_works_as_in_the_reference():
    picture = processor("e2b").image(np.zeros((1, 10_000, 3), np.uint8), budget=70)
    assert picture.resized == (48, 70 * 48)


# Configurations


def test_unknown_and_missing_keys(tmp_path):
    """Published files carry keys of many versions; some conversions drop whole blocks."""
    folder = random_checkpoint(tmp_path, "e2b")
    path = folder / "processor_config.json"
    raw = json.loads(path.read_text())
    raw["image_processor"] |= {"do_pan_and_scan": None, "size": {"height": 1}}
    raw |= {"feature_extractor": None, "novelty": [1], "video_processor": {"num_frames": 8}}
    path.write_text(json.dumps(raw))
    made = Processor.from_path(folder)
    assert made.defaults == MediaOptions(280, 70, 8)
    path.unlink()
    assert Processor.from_path(folder).defaults.image_budget == 280


def test_defaults_of_a_checkpoint_are_used():
    made = processor("e2b", image_processor={"max_soft_tokens": 560})
    assert made.image(PIXELS).soft_tokens > 280
    assert made.frame(PIXELS).soft_tokens == 55


@pytest.mark.parametrize(
    "raw",
    [
        {"feature_extractor": {"sampling_rate": 48_000}},
        {"feature_extractor": {"mel_floor": 1e-5}},
        {"image_processor": {"max_soft_tokens": 256}},
    ],
)
def test_a_front_end_we_do_not_have_is_refused(raw):
    with pytest.raises(ConfigError):
        processor("e2b", **raw)


@pytest.mark.parametrize("content", ["{", "[1]"])
def test_a_damaged_processor_config(tmp_path, content):
    folder = random_checkpoint(tmp_path, "e2b")
    (folder / "processor_config.json").write_text(content)
    with pytest.raises(ConfigError, match="damaged"):
        Processor.from_path(folder)


def test_ids_of_config_and_tokenizer_must_agree(tmp_path):
    folder = random_checkpoint(tmp_path, "e2b")
    raw = json.loads((folder / "config.json").read_text())
    raw["image_token_id"] += 1
    (folder / "config.json").write_text(json.dumps(raw))
    write_tokenizer(folder)
    with pytest.raises(ConfigError, match="image_token_id"):
        Processor.from_path(folder)


# ModelInputs


def clip(tokens: int) -> AudioClip:
    return AudioClip(np.zeros((4 * tokens, 128), np.float32), 4 * tokens, tokens, "k", 1.0)


def inputs(types: list[int], media=()) -> ModelInputs:
    kinds = np.array(types, np.uint8)
    return ModelInputs(np.zeros(kinds.size, np.int32), kinds, tuple(media))


def test_runs():
    assert media_runs(np.array([0, 3, 3, 0, 1, 2, 2], np.uint8)) == [
        (1, 3, 3),
        (4, 5, 1),
        (5, 7, 2),
    ]
    assert media_runs(np.zeros(0, np.uint8)) == []
    assert inputs([0, 3, 3], [clip(2)]).runs() == [(1, 3, 3)]


@pytest.mark.parametrize(
    ("types", "media", "match"),
    [
        ([0, 3, 3], [], "places for 1 media items but 0"),
        ([0, 0], [clip(1)], "places for 0 media items but 1"),
        ([3, 3], [clip(3)], "makes 3 soft tokens but the prompt has 2"),
        ([1, 1], [clip(2)], "of another kind"),
    ],
)
def test_runs_and_media_must_match(types, media, match):
    with pytest.raises(PromptError, match=match):
        inputs(types, media)
