"""A whole live conversation on a virtual clock: room, microphone, scripted engine, spoken answers.

Everything moves in steps of 10 ms: the mixer plays into the room, the room's echo and the scripted
speech reach the microphone, the pipeline listens. Engine and speech answer after scripted delays.
"""

import heapq
from collections.abc import Sequence

import numpy as np

from app.live import reports
from app.live.buffers import RATE
from app.live.clock import VirtualClock
from app.live.echo import STEP, EchoCanceller, EchoReference
from app.live.hearing import Hearing
from app.live.mixer import Mixer
from app.live.pipeline import LiveOptions, LivePipeline
from tests.live.rooms import say

STEP_S = 0.01


class Agenda:
    """Calls due at clock times."""

    def __init__(self, clock):
        self.clock = clock
        self._due = []
        self._count = 0

    def after(self, seconds, call, *args):
        self._count += 1
        heapq.heappush(self._due, (self.clock.now() + seconds, self._count, call, args))

    def run(self):
        while self._due and self._due[0][0] <= self.clock.now() + 1e-9:
            _, _, call, args = heapq.heappop(self._due)
            call(*args)


class ScriptedBrain:
    """A session that answers by script and keeps the context as a list, with exact marks."""

    def __init__(self, agenda, replies=(), first_token_s=0.15, token_s=0.02):
        self.agenda, self.first_token_s, self.token_s = agenda, first_token_s, token_s
        self.replies = list(replies)
        self.context = []
        self.marks = {}
        self.log = []
        self.decoding = None
        self.answered = 0
        self.stopped = 0
        self.last_reply = ""
        self.pipeline = None
        self.dead = False

    def audio(self, pcm, t):
        self.log.append("audio")
        assert pcm.dtype == np.float32
        if self.context and self.context[-1][0] == "clip":
            self.context[-1][1].append(pcm)
        else:
            self.context.append(("clip", [pcm]))

    def frame(self, rgb, t):
        self.log.append("frame")
        self.context.append(("frame", t)) if not self._clip_open() else self.context.insert(
            len(self.context) - 1, ("frame", t)
        )

    def end_clip(self):
        self.log.append("end_clip")
        assert self._clip_open(), "no clip is open"
        pcm = np.concatenate(self.context[-1][1])
        self.context[-1] = ("closed", pcm)

    def mark(self, number):
        self.log.append(f"mark {number}")
        copy = [(k, list(v) if k == "clip" else v) for k, v in self.context]
        self.marks[number] = copy

    def rollback(self, number):
        self.log.append(f"rollback {number}")
        self.decoding = None
        saved = self.marks[number]
        self.context = [(k, list(v) if k == "clip" else v) for k, v in saved]

    def reply(self, number, text):
        self.log.append(f"reply {number}")
        assert not self._clip_open(), "a reply needs a closed clip"
        if text:
            self.context.append(("text", text))
        self.decoding = number
        words = self.replies[min(self.answered, len(self.replies) - 1)] if self.replies else "Yes."
        self.last_reply = ""
        for i, word in enumerate(words.split(" ")):
            delay = self.first_token_s + i * self.token_s
            self.agenda.after(delay, self._token, number, word if i == 0 else f" {word}")
        done = self.first_token_s + len(words.split(" ")) * self.token_s
        self.agenda.after(done, self._finish, number)

    def _token(self, number, text):
        if self.decoding == number:
            self.last_reply += text
            self.pipeline.on_delta(number, text)

    def _finish(self, number):
        if self.decoding == number:
            self.decoding = None
            self.answered += 1
            self.context.append(("reply", self.last_reply))
            self.pipeline.on_reply_finished(number, "stop")

    def stop_reply(self):
        self.log.append("stop_reply")
        if self.decoding is not None:
            self.stopped += 1
            self.context.append(("reply", self.last_reply))
            self.answered += 1
        self.decoding = None

    def cut_reply(self, chars):
        self.log.append(f"cut {chars}")
        at = max(i for i, (kind, _) in enumerate(self.context) if kind == "reply")
        self.context[at] = ("reply", self.context[at][1][:chars])

    def transcribe(self, turn, clips: Sequence[np.ndarray]):
        self.log.append("transcribe")
        self.agenda.after(0.2, self.pipeline.on_transcript, turn, f"<{len(clips)} clips>")

    def _clip_open(self):
        return bool(self.context) and self.context[-1][0] == "clip"

    def sounds(self):
        return [value for kind, value in self.context if kind == "closed"]


class ScriptedVoice:
    """Speaks with espeak-ng after a delay; `spoken` False: a tone as long as the text instead.

    name: the voice of espeak-ng.
    """

    def __init__(self, agenda, delay_s=0.12, spoken=True):
        self.agenda, self.delay_s, self.spoken = agenda, delay_s, spoken
        self.name = "en"
        self.said = []
        self.cancelled = 0
        self.pipeline = None

    def speak(self, ticket, piece, language):
        self.said.append((piece.text, language))
        pcm = (
            say(piece.text, self.name, level=0.25)
            if self.spoken
            else np.full(len(piece.text) * RATE // 15, 0.1, np.float32)
        )
        self.agenda.after(self.delay_s, self.pipeline.on_speech, ticket, piece, pcm, RATE)

    def cancel(self):
        self.cancelled += 1


class World:
    """See the module docstring. `room` None: headphones."""

    def __init__(
        self,
        room=None,
        replies=("I can see a red circle on the screen.",),
        options=None,
        voice=True,
        cancel_echo=None,
        spoken=True,
        probability=None,
        brain_options=None,
    ):
        self.clock = VirtualClock()
        self.agenda = Agenda(self.clock)
        self.reports = []
        self.room = room
        self.reference = EchoReference()
        use_canceller = room is not None if cancel_echo is None else cancel_echo
        self.hearing = Hearing(
            self.reference, EchoCanceller() if use_canceller else None, probability
        )
        self.mixer = Mixer(RATE)
        self.brain = ScriptedBrain(self.agenda, replies, **(brain_options or {}))
        self.voice = ScriptedVoice(self.agenda, spoken=spoken) if voice else None
        self.pipeline = LivePipeline(
            self.clock,
            self.brain,
            self.voice,
            self.mixer,
            self.hearing,
            self.reports.append,
            options or LiveOptions(),
        )
        self.pipeline.duplex = reports.Duplex.FULL
        self.brain.pipeline = self.pipeline
        if self.voice:
            self.voice.pipeline = self.pipeline
        self.mixer.on_start = lambda piece: self.agenda.after(
            0, self.pipeline.on_piece_started, piece
        )
        self._noise = np.random.default_rng(0)
        self.noise_db = -70.0
        self.played = []
        self.steps = 0

    def probe(self):
        """Begin as a conversation does: whether we hear ourselves is not known yet."""
        self.hearing.start_probe()
        self.pipeline.duplex = reports.Duplex.UNKNOWN

    def hear(self, pcm, until=None):
        """Let scripted near-end sound reach the microphone."""
        for at in range(0, len(pcm) // STEP * STEP, STEP):
            self._step(pcm[at : at + STEP])
            if until and until():
                return True
        return False

    def wait(self, seconds, until=None):
        """Silence; True as soon as `until()` holds."""
        return self.hear(np.zeros(int(seconds * RATE), np.float32), until)

    def _step(self, near):
        out = self.mixer.render(STEP)
        self.played.append(out)
        now = self.clock.now()
        self.reference.write(out, now)
        mic = near + 10 ** (self.noise_db / 20) * self._noise.standard_normal(STEP).astype(
            np.float32
        )
        if self.room is not None:
            mic = mic + self.room.echo(out)
        self.clock.advance(STEP_S)
        self.steps += 1
        self.agenda.run()
        self.pipeline.on_mic(np.clip(mic, -1, 1).astype(np.float32), now)

    def of(self, kind):
        return [r for r in self.reports if isinstance(r, kind)]

    def speaking(self):
        return self.mixer.active

    def answered(self):
        return len(self.of(reports.ReplyDone))

    def loudness(self, last_s):
        recent = np.concatenate(self.played[-max(1, int(last_s * 100)) :])
        return float(np.sqrt(np.mean(recent**2)))
