"""Messages to model inputs: rendering, tokenising, and the expansion of media to soft tokens.

Knows every architecture's way to take pictures, sound and video; runs no model and imports no mlx.
Decoding of files is `media`'s work, the arithmetic of patches and frames that of `image_processing`
and `audio_processing`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlx_gemma4 import audio_processing, image_processing
from mlx_gemma4.audio_processing import FrontEndStream, MelStream, RawStream
from mlx_gemma4.chat import MediaSlot, Run, TextRun, ToolDeclaration, render
from mlx_gemma4.config import Gemma4Config
from mlx_gemma4.errors import ConfigError, MediaError, PromptError
from mlx_gemma4.inputs import AUDIO, IMAGE, TEXT, VIDEO, AudioClip, ImagePatches, Media, ModelInputs
from mlx_gemma4.media.images import ImageSource
from mlx_gemma4.media.reader import DirectReader, MediaReader
from mlx_gemma4.media.sound import split_at_pauses
from mlx_gemma4.media.video import VideoFrames, timestamp
from mlx_gemma4.messages import Audio, Image, MediaPart, Message, Video
from mlx_gemma4.tokenizer import Tokenizer

# The only values the front end is built for; a checkpoint that asks for others is refused.
_FRONT_END = {
    "sampling_rate": audio_processing.SAMPLE_RATE,
    "frame_length": audio_processing.WINDOW,
    "hop_length": audio_processing.HOP,
    "fft_length": audio_processing.FFT,
    "min_frequency": 0.0,
    "max_frequency": audio_processing.MEL_TOP_HZ,
    "mel_floor": audio_processing.MEL_FLOOR,
    "preemphasis": 0.0,
    "dither": 0.0,
    "input_scale_factor": 1.0,
}
_PLACEHOLDER = re.compile(r"<\|image\|>|<\|audio\|>|<\|video\|>")
_KINDS: dict[str, type[MediaPart]] = {
    "<|image|>": Image,
    "<|audio|>": Audio,
    "<|video|>": Video,
}


@dataclass(frozen=True)
class MediaOptions:
    """How media are taken in.

    Attributes:
        image_budget: most soft tokens of a picture that does not say itself.
        video_budget: most soft tokens of a video frame.
        video_frames: frames sampled from a video; None for the checkpoint's number (32).
        video_fps: frames a second of video instead.
        video_sound: also listen to a video's sound track, if the model hears.
    """

    image_budget: int = image_processing.DEFAULT_BUDGET
    video_budget: int = image_processing.VIDEO_BUDGET
    video_frames: int | None = None
    video_fps: float | None = None
    video_sound: bool = True


class Processor:
    """Turns messages, text and media into `ModelInputs` for one model.

    Thread-safe: nothing changes after construction.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        config: Gemma4Config,
        processor_config: Mapping[str, Any] | None = None,
        reader: MediaReader | None = None,
    ) -> None:
        """Join a tokenizer and a model's configuration.

        Args:
            tokenizer: the checkpoint's.
            config: the checkpoint's.
            processor_config: contents of `processor_config.json`; unknown keys are ignored and
                missing ones take the published values.
            reader: opens files; this process if not given.

        Raises:
            ConfigError: the files contradict each other or ask for another front end.
        """
        tokenizer.check(
            {
                name: getattr(config, name)
                for name in (
                    *("image_token_id", "video_token_id", "audio_token_id"),
                    *("boi_token_id", "eoi_token_id", "boa_token_id", "eoa_token_id"),
                )
            }
        )
        self.tokenizer = tokenizer
        self.config = config
        self._reader: MediaReader = reader or DirectReader()
        self._settings = processor_config
        self.defaults = _media_options(processor_config or {})

    @classmethod
    def from_path(cls, folder: str | Path, config: Gemma4Config | None = None) -> Processor:
        """Read the tokenizer and, if there is one, `processor_config.json` of a checkpoint folder.

        Raises:
            ConfigError: a file is missing or damaged.
        """
        config = Gemma4Config.from_path(folder) if config is None else config
        path = Path(folder) / "processor_config.json"
        raw: Any = {}
        if path.is_file():
            try:
                raw = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise ConfigError(f"{path} is damaged; download the checkpoint again.") from error
        if not isinstance(raw, dict):
            raise ConfigError(f"{path} is damaged; download the checkpoint again.")
        return cls(Tokenizer.from_path(folder), config, raw)

    # What the model takes

    @property
    def sees(self) -> bool:
        """Whether the model takes pictures and video frames."""
        return self.config.vision is not None

    @property
    def hears(self) -> bool:
        """Whether the model takes sound."""
        return self.config.audio is not None

    def reading_with(self, reader: MediaReader) -> Processor:
        """The same processor, its files opened by `reader` (in another process, for instance)."""
        return Processor(self.tokenizer, self.config, self._settings, reader)

    # Single items

    def image(self, source: ImageSource, budget: int | None = None) -> ImagePatches:
        """A picture, ready for the encoder.

        Args:
            source: path, bytes of a file, Pillow image, or array (see `media.images.load_image`).
            budget: most soft tokens: 70, 140, 280, 560 or 1120; more show finer detail.

        Raises:
            MediaError: the model takes no pictures, or this one cannot be read or used.
        """
        self._need_eyes("pictures")
        budget = self.defaults.image_budget if budget is None else budget
        image_processing.check_budget(budget)
        rgb = self._reader.image(source)
        return image_processing.image_patches(rgb, budget, unified=self.config.unified)

    def clip(self, pcm: np.ndarray) -> AudioClip:
        """A clip of sound, ready for the encoder.

        Args:
            pcm: mono samples [n] at 16 kHz, float32 or int16, at most 30 seconds.

        Raises:
            MediaError: the model takes no sound, or the samples cannot be used.
        """
        self._need_ears()
        return audio_processing.make_clip(pcm, raw=self.config.unified)

    def clips(self, source: str | Path | np.ndarray) -> tuple[tuple[AudioClip, ...], str | None]:
        """A recording of any length as clips of at most 30 seconds, cut at pauses.

        Args:
            source: a file, or mono samples [n] at 16 kHz.

        Returns:
            The clips, and a sentence for the user if the recording had to be cut.

        Raises:
            MediaError: the model takes no sound, or the recording cannot be read or used.
        """
        self._need_ears()
        if isinstance(source, np.ndarray):
            pcm, name = audio_processing.check_samples(source), "The recording"
        else:
            pcm, name = self._reader.sound(source).pcm, f'"{Path(source).name}"'
        pieces = split_at_pauses(pcm)
        if not pieces:
            raise MediaError(f"{name} holds no sound (0 seconds); record or export it again.")
        made = tuple(self.clip(piece) for piece in pieces)
        if len(made) == 1:
            return made, None
        seconds = pcm.size / audio_processing.SAMPLE_RATE
        return made, (
            f"{name} is {seconds:.0f} seconds long; the model hears at most 30 seconds at once, "
            f"so it was split at pauses into {len(made)} clips."
        )

    def mel_stream(self) -> FrontEndStream:
        """A new incremental front end: samples in, frames for this model's encoder out.

        Raises:
            MediaError: the model takes no sound.
        """
        self._need_ears()
        return RawStream() if self.config.unified else MelStream()

    def frame(self, rgb: np.ndarray, budget: int | None = None) -> ImagePatches:
        """A camera or video frame uint8 [h, w, 3], by default at the budget of video frames."""
        return self.image(rgb, self.defaults.video_budget if budget is None else budget)

    # Whole prompts

    def inputs(
        self,
        messages: Sequence[Message],
        *,
        think: bool = False,
        tools: Sequence[ToolDeclaration] = (),
        options: MediaOptions | None = None,
        generate: bool = True,
    ) -> ModelInputs:
        """A conversation as a prompt.

        Args:
            messages: in order, media where they were said.
            think: let the model think before it answers.
            tools: what it may call.
            options: how media are taken in; the checkpoint's defaults if not given.
            generate: end with the prompt for the model's answer.

        Raises:
            PromptError: a part in a message that cannot hold it.
            MediaError: media that cannot be read, or that this model cannot take.
        """
        family = self.config.family
        runs = render(messages, family=family, think=think, tools=tools, generate=generate)
        return self.encode(runs, options)

    def raw(
        self, text: str, media: Sequence[MediaPart] = (), options: MediaOptions | None = None
    ) -> ModelInputs:
        """Plain text as a prompt, as base checkpoints need it.

        Control tokens in `text` are read as such, and each `<|image|>`, `<|audio|>` and
        `<|video|>` takes the next item of `media`. `<bos>` is put in front if it is missing.

        Raises:
            PromptError: placeholders and media do not match.
            MediaError: media that cannot be read, or that this model cannot take.
        """
        text = text if text.startswith("<bos>") else "<bos>" + text
        marks = list(_PLACEHOLDER.finditer(text))
        if len(marks) != len(media):
            raise PromptError(
                f"The text has {len(marks)} media placeholders but {len(media)} media were given; "
                "put one <|image|>, <|audio|> or <|video|> where each belongs."
            )
        runs: list[Run] = []
        start = 0
        for mark, part in zip(marks, media, strict=True):
            if not isinstance(part, _KINDS[mark.group()]):
                given = {Image: "an image", Audio: "a recording", Video: "a video"}[type(part)]
                raise PromptError(
                    f"The placeholder {mark.group()} stands where {given} was given; swap them."
                )
            runs += [TextRun(text[start : mark.start()], control=True), MediaSlot(part)]
            start = mark.end()
        return self.encode([*runs, TextRun(text[start:], control=True)], options)

    def encode(self, runs: Sequence[Run], options: MediaOptions | None = None) -> ModelInputs:
        """Rendered runs of text and media as a prompt, or as a piece of one.

        Raises:
            MediaError: media that cannot be read, or that this model cannot take.
        """
        prompt = _Prompt(self.tokenizer, self.config)
        for run in runs:
            if isinstance(run, TextRun):
                prompt.text(run.text, control=run.control)
            else:
                self._place(run.part, prompt, options or self.defaults)
        return prompt.done()

    def _place(self, part: MediaPart, prompt: _Prompt, options: MediaOptions) -> None:
        if isinstance(part, Image):
            budget = options.image_budget if part.budget is None else part.budget
            prompt.item(IMAGE, self.image(part.source, budget))
        elif isinstance(part, Audio):
            self._place_sound(part.source, prompt)
        else:
            self._place_video(part, prompt, options)

    def _place_sound(self, source: Any, prompt: _Prompt) -> None:
        clips, notice = self.clips(source)
        for clip in clips:
            prompt.item(AUDIO, clip)
        if notice:
            prompt.notices.append(notice)

    def _place_video(self, part: Video, prompt: _Prompt, options: MediaOptions) -> None:
        """Frames as `MM:SS <frame>` joined by spaces, then the sound track, if it can be heard."""
        self._need_eyes("videos")
        frames = self._sampled(part, options)
        for number, (rgb, seconds) in enumerate(zip(frames.frames, frames.seconds, strict=True)):
            prompt.text(f"{' ' if number else ''}{timestamp(seconds)} ")
            patches = image_processing.patches_of(
                rgb, frames.budget, unified=self.config.unified, size=frames.size
            )
            prompt.item(VIDEO, patches)
        if not options.video_sound:
            return
        name = Path(part.source).name
        if not self.hears:
            prompt.notices.append(f'The sound of "{name}" was left out: this model does not hear.')
            return
        try:
            self._place_sound(part.sound or part.source, prompt)
        except MediaError as error:
            prompt.notices.append(f'Only the pictures of "{name}" are used: {error}')

    def _sampled(self, part: Video, options: MediaOptions) -> VideoFrames:
        count = options.video_frames
        if count is None and options.video_fps is None:
            count = self.defaults.video_frames
        return self._reader.video(part.source, count, options.video_fps, options.video_budget)

    def _need_eyes(self, what: str) -> None:
        if not self.sees:
            raise MediaError(
                f"This checkpoint takes no {what}, it holds the text part only; use one with its "
                "vision part, such as the original of Google."
            )

    def _need_ears(self) -> None:
        if not self.hears:
            raise MediaError(
                "This model does not hear; use Gemma 4 E2B, E4B or 12B with its audio part for "
                "sound, or write down what was said."
            )


class _Prompt:
    """A prompt being built. Text between two media is tokenised as one string."""

    def __init__(self, tokenizer: Tokenizer, config: Gemma4Config) -> None:
        self._tokenizer = tokenizer
        self._pending: list[tuple[str, bool]] = []
        self._ids: list[int] = []
        self._types: list[int] = []
        self._media: list[Media] = []
        self.notices: list[str] = []
        picture = (config.boi_token_id, config.eoi_token_id)
        # Frames of a video stand between the marks of pictures.
        self._marks = {
            IMAGE: (config.image_token_id, *picture),
            VIDEO: (config.video_token_id, *picture),
            AUDIO: (config.audio_token_id, config.boa_token_id, config.eoa_token_id),
        }

    def text(self, text: str, *, control: bool = False) -> None:
        """Add text; control tokens only where `control` says so."""
        self._pending.append((text, control))

    def item(self, kind: int, item: Media) -> None:
        """Add a media item between its begin and end marks."""
        self._flush()
        soft, begin, end = self._marks[kind]
        self._ids += [begin, *[soft] * item.soft_tokens, end]
        self._types += [TEXT, *[kind] * item.soft_tokens, TEXT]
        self._media.append(item)

    def done(self) -> ModelInputs:
        """The finished inputs."""
        self._flush()
        return ModelInputs(
            np.array(self._ids, dtype=np.int32),
            np.array(self._types, dtype=np.uint8),
            tuple(self._media),
            tuple(self.notices),
        )

    def _flush(self) -> None:
        ids = self._tokenizer.encode_runs(self._pending)
        self._pending.clear()
        self._ids += ids
        self._types += [TEXT] * len(ids)


def _media_options(raw: Mapping[str, Any]) -> MediaOptions:
    """Defaults from `processor_config.json`; blocks that are missing or null mean the published."""
    blocks = {
        name: raw.get(name) or {}
        for name in ("image_processor", "video_processor", "feature_extractor")
    }
    for name, expected in _FRONT_END.items():
        value = blocks["feature_extractor"].get(name)
        if isinstance(value, int | float) and not np.isclose(value, expected):
            raise ConfigError(
                f"This checkpoint's audio front end has {name} {value} instead of {expected}, "
                "which is no Gemma 4 this program knows; use a published checkpoint."
            )
    pictures, video = blocks["image_processor"], blocks["video_processor"]
    image_budget = pictures.get("max_soft_tokens") or image_processing.DEFAULT_BUDGET
    video_budget = video.get("max_soft_tokens") or image_processing.VIDEO_BUDGET
    for budget in (image_budget, video_budget):
        if budget not in image_processing.BUDGETS:
            raise ConfigError(f"processor_config.json asks for pictures of {budget} tokens.")
    return MediaOptions(image_budget, video_budget, video.get("num_frames"))
