"""Live conversation: turn taking, echo, interruption and speech planning.

Pure Python and numpy with an injected clock. Knows neither Qt nor the model: sound, pictures,
the model and the loudspeaker are reached through the protocols of `app.live.ports`.
"""
