"""Every error the library raises on purpose.

Each message is one sentence for the user: what happened, why, and what to do about it. Details for
a developer go to the ``logging`` log. This module imports nothing, so every part can use it.
"""


class Gemma4Error(Exception):
    """Base of all errors of this library; ``str(error)`` is a sentence fit to show."""


class ConfigError(Gemma4Error):
    """A ``config.json`` is missing, unreadable, or describes something that is not Gemma 4."""


class WeightsError(Gemma4Error):
    """Checkpoint tensors are missing, unexpected, mis-shaped or damaged."""


class MediaError(Gemma4Error):
    """A picture, recording or video cannot be read or cannot be taken in by this model."""


class PromptError(Gemma4Error):
    """Token ids, messages or soft tokens do not fit together or do not fit the model."""


class ToolError(Gemma4Error):
    """A tool declaration, tool call or output schema cannot be used."""


class HubError(Gemma4Error):
    """A checkpoint cannot be found, downloaded, verified or deleted."""


class SessionError(Gemma4Error):
    """A conversation was driven in an order that has no meaning (stale mark, closed clip, ...)."""
