"""The page's engine in Node, called from tests."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

EXPLORER = Path(str(files("glassnet"))) / "explorer"
ENGINE = EXPLORER / "engine"
SCRIPTS = ("payload.js", "layers.js", "network.js", "training.js", "check.js", "worker.js")
PAGE_SCRIPTS = ("resize.js", "ink.js")  # those that compute and show nothing


class JavaScriptError(Exception):
    """An error that JavaScript code threw; the text is its message."""


class JavaScript:
    """A Node process that has the engine's scripts loaded; call it with the body of a function and its arguments.

    Arrays arrive there as ``{shape, data: Float64Array}``; typed arrays come back as flat float64 arrays.
    """

    def __init__(self) -> None:
        node = shutil.which("node")
        if node is None:
            pytest.skip("node is missing; it runs the JavaScript engine")
        paths = [*(ENGINE / name for name in SCRIPTS), *(EXPLORER / "page" / name for name in PAGE_SCRIPTS)]
        scripts = [str(path) for path in paths if path.exists()]
        command = [node, str(Path(__file__).with_name("engine_process.js")), *scripts]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, body: str, **values: Any) -> Any:
        """Return what ``body`` returns (it may use await), with ``values`` as its variables.

        :raises JavaScriptError: if it throws.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"body": body, "values": values}, default=_encode) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline(), object_hook=_decode)
        if "error" in answer:
            raise JavaScriptError(answer["error"])
        return answer["result"]

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def _encode(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"JSON cannot hold {type(value).__name__}.")
    numbers = np.ascontiguousarray(array, np.float64).tobytes()
    return {"float64": base64.b64encode(numbers).decode(), "shape": array.shape}


def _decode(value: dict[str, Any]) -> Any:
    if set(value) == {"float64"}:
        return np.frombuffer(base64.b64decode(value["float64"]))
    return float(value["number"].replace("Infinity", "inf")) if set(value) == {"number"} else value
