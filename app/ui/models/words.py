"""Numbers of models and downloads in plain words."""

from __future__ import annotations

from app.controllers.model_controller import ModelRow, verdict_words
from app.core.events import Capabilities, Fit, PlanResult
from app.services.downloads import DownloadState, DownloadStatus

GIBIBYTE = 1 << 30
# Glyphs of ui.md for what a model takes in, with the words a screen reader says.
TAKES = (
    ("case-sensitive", "text", lambda takes: True),
    ("image", "pictures", lambda takes: takes.image),
    ("film", "films", lambda takes: takes.video),
    ("music", "sound", lambda takes: takes.audio),
)


def size_words(size: float) -> str:
    """Bytes as one says them: "3.6 GB"."""
    if size >= 1e9:
        return f"{size / 1e9:.1f} GB"
    if size >= 1e6:
        return f"{size / 1e6:.0f} MB"
    return f"{max(0, size) / 1e3:.0f} KB"


def time_words(seconds: float) -> str:
    """What is left, rounded as people do."""
    if seconds < 45:
        return "less than a minute"
    minutes = round(seconds / 60)
    if minutes < 60:
        return "1 minute" if minutes <= 1 else f"{minutes} minutes"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def download_words(status: DownloadStatus) -> str:
    """Bytes, speed and time left, or why nothing moves."""
    amount = f"{size_words(status.done)} of {size_words(status.total)}"
    if status.state is DownloadState.PAUSED:
        return f"Paused at {amount}"
    if status.problem:
        return status.problem
    if status.state is DownloadState.CHECKING:
        return f"Checking {size_words(status.total)}"
    if not status.total:
        return "Starting …"
    parts = [amount]
    if status.speed:
        parts.append(f"{size_words(status.speed)}/s")
    if status.eta is not None:
        parts.append(f"{time_words(status.eta)} left")
    return " · ".join(parts)


def verdict(plan: PlanResult | None) -> str:
    """Does it run on this machine? What it needs first, then what would help."""
    if plan is None or plan.fit is not Fit.WONT:
        return verdict_words(plan)
    needs = f"needs {-(-plan.total // GIBIBYTE)} GB"
    return f"{needs}. {plan.advice}" if plan.advice else needs


def takes_of(row: ModelRow) -> Capabilities:
    """What the model takes in: read from its files, or, before it is here, from the table."""
    if row.info is not None:
        return row.info.capabilities
    if row.known is None:
        return Capabilities()  # nobody knows yet
    return Capabilities(image=True, audio=row.known.hears, video=True)


def takes_words(takes: Capabilities) -> str:
    """In words: "takes text, pictures and sound"."""
    words = [name for _, name, test in TAKES if test(takes)]
    if len(words) == 1:
        return f"takes {words[0]}"
    return f"takes {', '.join(words[:-1])} and {words[-1]}"
