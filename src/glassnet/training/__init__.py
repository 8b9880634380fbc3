"""Training: the schedule, the loop, the run folder, and the model loaded from it."""

from glassnet.training.importing import import_weights
from glassnet.training.model import Model, Prediction, load
from glassnet.training.progress import Progress, TerminalProgress
from glassnet.training.run_folder import RunFolder
from glassnet.training.start import Run, fit_spec, train

__all__ = [
    "Model",
    "Prediction",
    "Progress",
    "Run",
    "RunFolder",
    "TerminalProgress",
    "fit_spec",
    "import_weights",
    "load",
    "train",
]
