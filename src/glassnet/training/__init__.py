"""Training: the schedule, the loop, the run folder, and the model loaded from it."""

from glassnet.training.loop import Run, fit_spec, train
from glassnet.training.model import Model, Prediction, load
from glassnet.training.progress import Progress, TerminalProgress
from glassnet.training.run_folder import RunFolder

__all__ = ["Model", "Prediction", "Progress", "Run", "RunFolder", "TerminalProgress", "fit_spec", "load", "train"]
