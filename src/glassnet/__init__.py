"""Residual networks you can see through.

>>> import glassnet as gn
>>> run = gn.train("tiny", data="digits", epochs=10, seed=42, run="runs/a")  # doctest: +SKIP
>>> model = gn.load("runs/a")  # doctest: +SKIP

Everything here is loaded when it is first used, so that importing glassnet is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from glassnet import course as course
    from glassnet.api import compare as compare
    from glassnet.api import explore as explore
    from glassnet.api import report as report
    from glassnet.api import train as train
    from glassnet.architecture import ResNetSpec as ResNetSpec
    from glassnet.architecture import spec as spec
    from glassnet.data import Dataset as Dataset
    from glassnet.data import load_data as load_data
    from glassnet.doctor import diagnose as diagnose
    from glassnet.engines import Network as Network
    from glassnet.engines import build as build
    from glassnet.errors import GlassnetError as GlassnetError
    from glassnet.exporting import export as export
    from glassnet.layer_graph import graph as graph
    from glassnet.recipe import Recipe as Recipe
    from glassnet.recognition import recognize as recognize
    from glassnet.training import FilePrediction as FilePrediction
    from glassnet.training import Model as Model
    from glassnet.training import Prediction as Prediction
    from glassnet.training import Run as Run
    from glassnet.training import import_weights as import_weights
    from glassnet.training import load as load
    from glassnet.verify import golden as golden
    from glassnet.weights import load_weights as load_weights

_MODULE_OF_NAME = {
    "Dataset": "glassnet.data",
    "FilePrediction": "glassnet.training",
    "GlassnetError": "glassnet.errors",
    "Model": "glassnet.training",
    "Network": "glassnet.engines",
    "Prediction": "glassnet.training",
    "Recipe": "glassnet.recipe",
    "ResNetSpec": "glassnet.architecture",
    "Run": "glassnet.training",
    "build": "glassnet.engines",
    "compare": "glassnet.api",
    "diagnose": "glassnet.doctor",
    "explore": "glassnet.api",
    "export": "glassnet.exporting",
    "graph": "glassnet.layer_graph",
    "import_weights": "glassnet.training",
    "load": "glassnet.training",
    "load_data": "glassnet.data",
    "load_weights": "glassnet.weights",
    "recognize": "glassnet.recognition",
    "report": "glassnet.api",
    "spec": "glassnet.architecture",
    "train": "glassnet.api",
}

_PACKAGES = {"course": "glassnet.course", "golden": "glassnet.verify.golden"}  # used as gn.course.check

__all__ = sorted(_MODULE_OF_NAME)


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return import_module(_PACKAGES[name])
    if name not in _MODULE_OF_NAME:
        raise AttributeError(f"module 'glassnet' has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF_NAME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *_MODULE_OF_NAME, *_PACKAGES]
