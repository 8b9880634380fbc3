"""Training: the schedule, the loop, the run folder, and the model loaded from it."""

from glassnet.training.file_predictions import FilePrediction
from glassnet.training.importing import import_weights
from glassnet.training.model import Model, Prediction, load
from glassnet.training.run import spec_for_data, train
from glassnet.training.run_folder import RunFolder
from glassnet.training.trained_run import Run

__all__ = [
    "FilePrediction",
    "Model",
    "Prediction",
    "Run",
    "RunFolder",
    "import_weights",
    "load",
    "spec_for_data",
    "train",
]
