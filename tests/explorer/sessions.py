"""Sessions of the page's worker in Node, opened with the data of a run."""

import base64

import glassnet as gn
from glassnet.explorer.payload import build_payload
from glassnet.progress import Progress
from glassnet.training import Model

from .javascript import JavaScript


def train_run(path, model, data, **settings) -> Model:
    """Return a float64 run of the NumPy engine."""
    gn.train(model, data=data, run=path, dtype="float64", report=False, progress=Progress(), **settings)
    return gn.load(path)


def open_session(javascript: JavaScript, model: Model, data: gn.Dataset | None) -> dict:
    """Open `session` with a run, and return what it answers; `events` collects what it posts."""
    return javascript(
        """
        const bytes = Uint8Array.from(Buffer.from(payload, "base64"));
        globalThis.events = [];
        globalThis.session = new Session((event, result) => events.push([event, result]));
        globalThis.openedBytes = bytes.buffer;
        return session.open(bytes.buffer);
        """,
        payload=base64.b64encode(build_payload(model, data)).decode(),
    )


def largest_difference(state: dict, model: Model) -> float:
    """Return the largest difference between the weights of a session's network and those of a run."""
    expected = model.network.state_dict()
    assert state.keys() == expected.keys()
    return max(abs(state[key]["data"] - array.ravel()).max() for key, array in expected.items())
