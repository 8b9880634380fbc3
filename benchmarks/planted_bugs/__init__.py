"""Bugs to plant in glassnet's own code, over all options that a user can choose."""

from planted_bugs.architecture import ARCHITECTURE
from planted_bugs.kernels import kernel_bugs
from planted_bugs.layers import layer_bugs
from planted_bugs.planting import Bug, bugs_of
from planted_bugs.torch_engine import TORCH
from planted_bugs.training import TRAINING


def all_bugs() -> list[Bug]:
    """Return all bugs."""
    tables = {"architecture": ARCHITECTURE, "training": TRAINING, "torch": TORCH}
    return [*kernel_bugs(), *layer_bugs(), *(bug for title, rows in tables.items() for bug in bugs_of(title, rows))]
