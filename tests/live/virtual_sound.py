"""A sound card made of PulseAudio null sinks: what is played into one is what the microphone hears.

Needs the packages pulseaudio and libasound2-plugins (the ALSA device through which PortAudio
reaches the server). The server lives in a folder of its own and ends with the test.
"""

import os
import subprocess
import time
from pathlib import Path

import numpy as np
import soundfile

from app.live.buffers import RATE

_ASOUND = """
pcm.!default { type pulse }
ctl.!default { type pulse }
pcm.facet { type pulse hint { show on description "Facet virtual sound card" } }
"""
_MODULES = [
    "load-module module-native-protocol-unix socket={socket} auth-anonymous=1",
    "load-module module-null-sink sink_name=mouth rate=48000 channels=1",
    "load-module module-null-sink sink_name=speaker rate=48000 channels=1",
    "load-module module-remap-source master=mouth.monitor source_name=microphone",
    "set-default-sink speaker",
    "set-default-source microphone",
]


class VirtualSound:
    """A running server; `environment` leads a process's sound to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        socket = folder / "pulse.socket"
        script = folder / "default.pa"
        script.write_text("\n".join(_MODULES).format(socket=socket) + "\n")
        (folder / "asound.conf").write_text(_ASOUND)
        self.environment = {
            "PULSE_SERVER": f"unix:{socket}",
            "PULSE_RUNTIME_PATH": str(folder / "run"),
            "PULSE_COOKIE": str(folder / "cookie"),
            "XDG_RUNTIME_DIR": str(folder),
            "ALSA_CONFIG_PATH": self._alsa_config(),
            "PULSE_LATENCY_MSEC": "40",
        }
        self._process = subprocess.Popen(
            [
                "pulseaudio",
                "-n",
                "-F",
                str(script),
                "--daemonize=no",
                "--exit-idle-time=-1",
                "--disallow-exit=no",
                "--use-pid-file=no",
                "--log-level=error",
                "--realtime=no",
                "--high-priority=no",
            ],
            env={**os.environ, **self.environment, "HOME": str(folder)},
            stdout=subprocess.DEVNULL,
            stderr=(folder / "pulse.log").open("w"),
        )
        self._wait_until_up()

    def _alsa_config(self) -> str:
        """The system's ALSA configuration followed by ours."""
        path = self.folder / "alsa.conf"
        path.write_text("</usr/share/alsa/alsa.conf>\n" + _ASOUND)
        return str(path)

    def _wait_until_up(self) -> None:
        for _ in range(100):
            if self.control("info", check=False).returncode == 0:
                return
            time.sleep(0.05)
        raise RuntimeError((self.folder / "pulse.log").read_text() or "pulseaudio did not start")

    def control(self, *words: str, check: bool = True) -> subprocess.CompletedProcess:
        """Run pactl."""
        return subprocess.run(
            ["pactl", *words],
            env={**os.environ, **self.environment},
            check=check,
            capture_output=True,
            text=True,
            timeout=10,
        )

    def speak(self, pcm: np.ndarray) -> subprocess.Popen:
        """Play into the microphone; returns at once."""
        path = self.folder / f"said-{time.monotonic_ns()}.wav"
        soundfile.write(path, pcm, RATE, subtype="PCM_16")
        return subprocess.Popen(
            ["paplay", "--device=mouth", "--latency-msec=20", str(path)],
            env={**os.environ, **self.environment},
        )

    def record_speaker(self, path: Path) -> subprocess.Popen:
        """Record what the loudspeaker plays (its monitor) as raw 16 kHz mono 16 bit."""
        return subprocess.Popen(
            [
                "parec",
                "--device=speaker.monitor",
                "--rate=16000",
                "--channels=1",
                "--format=s16le",
                "--latency-msec=10",
                "--raw",
            ],
            env={**os.environ, **self.environment},
            stdout=path.open("wb"),
        )

    def stop(self) -> None:
        """End the server."""
        self._process.terminate()
        self._process.wait(timeout=5)
