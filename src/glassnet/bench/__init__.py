"""The bench: speed and memory of the NumPy engine beside plain NumPy and PyTorch, side by side on this machine."""

from glassnet.bench.results import BenchReport, Ratio, TaskTimings
from glassnet.bench.runner import run_bench
from glassnet.bench.saved import compare_saved, load_bench, save_bench
from glassnet.bench.timing import Quartiles
from glassnet.bench.workloads import WORKLOADS, Workload, training_step

__all__ = [
    "WORKLOADS",
    "BenchReport",
    "Quartiles",
    "Ratio",
    "TaskTimings",
    "Workload",
    "compare_saved",
    "load_bench",
    "run_bench",
    "save_bench",
    "training_step",
]
