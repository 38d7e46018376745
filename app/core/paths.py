"""Where things lie on disk. Nothing is created at import; `AppPaths.create` makes the folders."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

APP_NAME = "Facet"
CRASH_LOG = "engine-crash.log"
LAST_CRASH_LOG = "engine-crash-last.log"


@dataclass(frozen=True, slots=True)
class AppPaths:
    """The folders of one installation. All app data lies below `data`, logs below `logs`."""

    data: Path
    logs: Path

    @classmethod
    def default(cls) -> AppPaths:
        """The platform's own folders (macOS: Application Support and Logs)."""
        import platformdirs

        return cls(
            Path(platformdirs.user_data_dir(APP_NAME, appauthor=False)),
            Path(platformdirs.user_log_dir(APP_NAME, appauthor=False)),
        )

    @classmethod
    def below(cls, folder: Path) -> AppPaths:
        """Everything under one folder (`--data-dir`, tests)."""
        folder = Path(folder).expanduser().absolute()
        return cls(folder, folder / "logs")

    @property
    def database(self) -> Path:
        """The conversations."""
        return self.data / "facet.sqlite3"

    @property
    def attachments(self) -> Path:
        """Copies of attached files, named by content hash."""
        return self.data / "attachments"

    @property
    def models(self) -> Path:
        """Checkpoints made or imported by the app (downloads use the shared Hugging Face cache)."""
        return self.data / "models"

    @property
    def documents(self) -> Path:
        """Recognised pages of the document workspace."""
        return self.data / "documents"

    @property
    def recordings(self) -> Path:
        """Sound of live talks, where the person asked to keep it."""
        return self.data / "recordings"

    @property
    def settings_file(self) -> Path:
        """The settings."""
        return self.data / "settings.json"

    @property
    def lock_file(self) -> Path:
        """Held while an instance uses this folder."""
        return self.data / "facet.lock"

    @property
    def crash_log(self) -> Path:
        """Where the running engine would write its last words."""
        return self.logs / CRASH_LOG

    @property
    def last_crash_log(self) -> Path:
        """The last words of an engine before it."""
        return self.logs / LAST_CRASH_LOG

    def create(self) -> None:
        """Make the folders that must exist before anything is opened."""
        for folder in (self.data, self.attachments, self.logs):
            folder.mkdir(parents=True, exist_ok=True)


def sound_copy(attachment: Path) -> Path:
    """Where the 16 kHz WAV of an attachment's sound lies, if there is one: beside it.

    It begins with the same content hash, so it is removed with its attachment.
    """
    return attachment.with_name(f"{attachment.stem}.sound.wav")


def play_copy(attachment: Path) -> Path:
    """Where the WAV lies that the window plays instead of the foreign file; beside it as well."""
    return attachment.with_name(f"{attachment.stem}.play.wav")


def film_copy(attachment: Path) -> Path:
    """Where a film's pictures lie that the window shows; beside it as well."""
    return attachment.with_name(f"{attachment.stem}.play.strip")


def assets_dir() -> Path:
    """The folder with icons, samples and the demo model; the only way to find assets.

    In the bundle the assets lie beside the Python code in Contents/Resources; from source at the
    top of the project.
    """
    frozen = getattr(sys, "_MEIPASS", None)
    candidates = [Path(frozen) / "assets"] if frozen else []
    here = Path(__file__).resolve()
    candidates += [here.parents[2] / "assets", *(p / "Resources" / "assets" for p in here.parents)]
    return next((folder for folder in candidates if folder.is_dir()), candidates[0])


def demo_model_dir() -> Path:
    """The tiny model that ships with the app."""
    return assets_dir() / "demo-model"


def samples_dir() -> Path:
    """Pictures, sounds and pages to try."""
    return assets_dir() / "samples"
