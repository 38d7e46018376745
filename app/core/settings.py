"""The settings, declared once: type, default, bounds and the words the dialog shows.

The settings dialog is generated from `specs()`, the file is checked against it. No I/O here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, Literal

SettingValue = bool | int | float | str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SettingSpec:
    """One setting. bounds: (lowest, highest) of a number; choices: (value, label) pairs.

    group: page of the dialog. hidden ones are remembered but not shown. unit follows the number.
    needs: a part that not every build has ("updates"); without it the setting is not shown.
    at_load: a model takes it over when it is loaded; changing it calls for loading it again.
    picked: its choices are known only while the app runs (devices, voices); "" is the system's.
    """

    name: str
    type: type
    default: SettingValue
    title: str
    description: str
    group: str
    bounds: tuple[float, float] | None = None
    choices: tuple[tuple[SettingValue, str], ...] = ()
    unit: str = ""
    hidden: bool = False
    needs: str = ""
    at_load: bool = False
    picked: bool = False


def _setting(
    default: SettingValue,
    title: str,
    description: str,
    group: str,
    *,
    bounds: tuple[float, float] | None = None,
    choices: tuple[tuple[SettingValue, str], ...] = (),
    unit: str = "",
    hidden: bool = False,
    needs: str = "",
    at_load: bool = False,
    picked: bool = False,
) -> Any:
    words = {
        "title": title,
        "description": description,
        "group": group,
        "bounds": bounds,
        "choices": choices,
        "unit": unit,
        "hidden": hidden,
        "needs": needs,
        "at_load": at_load,
        "picked": picked,
    }
    return field(default=default, metadata=words)


_DETAILS = (
    (0, "Auto"),
    (70, "Quick"),
    (140, "Light"),
    (280, "Normal"),
    (560, "Fine"),
    (1120, "Finest"),
)


@dataclass(frozen=True)
class Settings:
    """All settings. Immutable: `changed` returns a checked copy."""

    # Look
    theme: Literal["system", "light", "dark"] = _setting(
        "system",
        "Appearance",
        "Light, dark, or whatever the system uses.",
        "Look",
        choices=(("system", "Like the system"), ("light", "Light"), ("dark", "Dark")),
    )
    text_size: int = _setting(
        100,
        "Text size",
        "Scales everything in the window.",
        "Look",
        bounds=(80, 200),
        unit="%",
    )
    reduce_motion: bool = _setting(
        False, "Reduce motion", "No animations, also where the system would allow them.", "Look"
    )
    show_details: bool = _setting(
        False,
        "Show details",
        "Adds token counts, budgets and speeds to the plain words.",
        "Look",
    )
    # Chat
    send_key: str = _setting(
        "enter",
        "Send with",
        "The other key combination starts a new line.",
        "Chat",
        choices=(("enter", "Enter"), ("command", "Command-Enter")),
    )
    preset: str = _setting(
        "Balanced",
        "Style of new chats",
        "How freely the model picks its words.",
        "Chat",
        choices=(("Balanced", "Balanced"), ("Precise", "Precise"), ("Inventive", "Inventive")),
    )
    system_prompt: str = _setting(
        "", "Instructions for new chats", "What the model should always keep in mind.", "Chat"
    )
    image_detail: int = _setting(
        0,
        "Detail of pictures",
        "How finely new pictures are looked at; finer reads small print and takes longer.",
        "Chat",
        choices=_DETAILS,
    )
    think: bool = _setting(
        False, "Think before answering", "Slower, better at puzzles and sums.", "Chat"
    )
    max_reply_tokens: int = _setting(
        4096,
        "Longest answer",
        "An answer is cut after this many tokens.",
        "Chat",
        bounds=(64, 65536),
        unit="tokens",
    )
    notify_when_done: bool = _setting(
        True,
        "Tell me when a long job is done",
        "A quiet notice when Facet is in the background.",
        "Chat",
    )
    # Model
    model: str = _setting(
        "", "Model", "The folder of the model used for new chats.", "Model", hidden=True
    )
    load_at_start: bool = _setting(
        True, "Load the model when Facet opens", "The window never waits for it.", "Model"
    )
    context_tokens: int = _setting(
        8192,
        "Memory of a chat",
        "How much of a long chat the model can keep in mind; more needs more memory.",
        "Model",
        bounds=(2048, 262144),
        unit="tokens",
        at_load=True,
    )
    kv_bits: int = _setting(
        0,
        "Precision of that memory",
        "What the model keeps of a chat (keys and values). At 8 bit it takes about half the room, "
        "at 4 bit about a quarter; answers can then differ a little.",
        "Model",
        choices=((0, "Full"), (8, "8 bit"), (4, "4 bit")),
        at_load=True,
    )
    table_on_disk: Literal["auto", "on", "off"] = _setting(
        "auto",
        "Keep the per-layer table on disk",
        "About half of a small model (E2B, E4B) is a table of which each word needs one line. On "
        "disk it takes no memory, and every word comes a little later.",
        "Model",
        choices=(("auto", "When memory is tight"), ("on", "Always"), ("off", "Never")),
        at_load=True,
    )
    memory_percent: int = _setting(
        75,
        "Memory Facet may use",
        "Share of this Mac's memory the model may take.",
        "Model",
        bounds=(30, 90),
        unit="%",
    )
    model_folders: tuple[str, ...] = _setting(
        (), "Other model folders", "More places to look for models.", "Model"
    )
    # Live
    microphone: str = _setting("", "Microphone", "What Facet listens with.", "Live", picked=True)
    camera: str = _setting("", "Camera", "What it looks with.", "Live", picked=True)
    speaker: str = _setting("", "Speaker", "What it talks with.", "Live", picked=True)
    voice: str = _setting(
        "", "Voice", "Who reads answers aloud, and in which language.", "Live", picked=True
    )
    speech_rate: int = _setting(100, "Speed of speech", "", "Live", bounds=(50, 200), unit="%")
    speech_volume: int = _setting(100, "Volume of speech", "", "Live", bounds=(10, 100), unit="%")
    live_prompt: str = _setting(
        "You are in a spoken conversation and may see pictures of a camera. Answer in one to three "
        "short sentences of plain spoken words: no lists, headings, code or emoji. Answer in the "
        "language you are spoken to.",
        "Instructions for live talks",
        "What the model should keep in mind while it talks with you.",
        "Live",
    )
    live_fps: float = _setting(
        1.0,
        "Pictures for the model",
        "How often it gets a picture of the camera while you speak.",
        "Live",
        choices=(
            (0.2, "Every 5 seconds"),
            (0.5, "Every 2 seconds"),
            (1.0, "Every second"),
            (2.0, "Twice a second"),
        ),
    )
    live_saves_power: bool = _setting(
        True,
        "Look less often on battery",
        "Also when the machine is hot.",
        "Live",
    )
    use_ear: bool = _setting(
        True,
        "Listen with a second model",
        "Where the chosen model cannot hear, an installed one that can writes your questions down.",
        "Live",
    )
    barge_in: bool = _setting(
        True,
        "Interrupt by speaking",
        "Facet stops talking when you start. Needs headphones or echo cancellation.",
        "Live",
    )
    keep_recordings: bool = _setting(
        False,
        "Keep the sound of talks",
        "Otherwise only the words are kept.",
        "Privacy",
    )
    check_updates: bool = _setting(
        False,
        "Look for new versions",
        "Asks once a day what the newest version is; nothing else is sent.",
        "Privacy",
        needs="updates",
    )
    # Remembered, not shown
    window_geometry: str = _setting("", "Window place", "", "Look", hidden=True)
    recent_files: tuple[str, ...] = _setting((), "Recent files", "", "Chat", hidden=True)
    first_start_done: bool = _setting(False, "First start done", "", "Look", hidden=True)
    last_update_check: int = _setting(0, "Last look for versions", "", "Privacy", hidden=True)

    def changed(self, **values: SettingValue) -> Settings:
        """A copy with these values. Raises ValueError (one sentence) where one is not allowed."""
        return replace(self, **{name: checked(name, value) for name, value in values.items()})


def specs() -> Iterator[SettingSpec]:
    """Every setting in the order of declaration."""
    for entry in fields(Settings):
        yield _spec(entry)


def _spec(entry: Field[Any]) -> SettingSpec:
    default: Any = entry.default
    return SettingSpec(name=entry.name, type=type(default), default=default, **entry.metadata)


def spec(name: str) -> SettingSpec:
    """The declaration of one setting. Raises KeyError for an unknown name."""
    found = next((each for each in specs() if each.name == name), None)
    if found is None:
        raise KeyError(name)
    return found


def checked(name: str, value: Any) -> SettingValue:
    """`value` in the setting's own type. Raises ValueError (one sentence) if not allowed."""
    declared = spec(name)
    converted = _converted(declared, value)
    if declared.choices and converted not in [choice for choice, _ in declared.choices]:
        allowed = ", ".join(str(choice) for choice, _ in declared.choices)
        raise ValueError(f"{declared.title} must be one of {allowed}, not {value!r}.")
    if declared.bounds and not declared.bounds[0] <= converted <= declared.bounds[1]:  # type: ignore[operator]
        low, high = declared.bounds
        raise ValueError(f"{declared.title} must lie between {low:g} and {high:g}, not {value!r}.")
    return converted


def _converted(declared: SettingSpec, value: Any) -> SettingValue:
    if declared.type is tuple and isinstance(value, (list, tuple)):
        if all(isinstance(item, str) for item in value):
            return tuple(value)
    elif declared.type is float and type(value) is int and abs(value) <= sys.float_info.max:
        return float(value)
    elif type(value) is declared.type:
        return value
    raise ValueError(f"{declared.title} cannot be {value!r}.")
