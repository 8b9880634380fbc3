"""The spec of a network from its weights alone: keys, shapes, and a configuration beside the file."""

from glassnet.recognition.recognize import Recognition, recognize, recognize_state, state_shapes

__all__ = ["Recognition", "recognize", "recognize_state", "state_shapes"]
