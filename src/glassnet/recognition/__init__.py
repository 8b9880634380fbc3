"""The spec of a network from its weights alone: keys, shapes, and a configuration beside the file."""

from glassnet.recognition.known_normalizations import suggest_normalization
from glassnet.recognition.recognize import (
    Recognition,
    describe_spec,
    field_text,
    recognize,
    recognize_state,
    state_shapes,
)

__all__ = [
    "Recognition",
    "describe_spec",
    "field_text",
    "recognize",
    "recognize_state",
    "state_shapes",
    "suggest_normalization",
]
