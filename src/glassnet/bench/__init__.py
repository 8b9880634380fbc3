"""The bench: glassnet's speed and memory beside a plain NumPy engine and PyTorch, measured in turn on this machine."""

from glassnet.bench.machine import Machine
from glassnet.bench.report import BenchReport, Contest, Ratio
from glassnet.bench.running import bench
from glassnet.bench.stored import compare, read_stored, store
from glassnet.bench.tables import machine_rows, quoted, words, workload_rows

__all__ = [
    "BenchReport",
    "Contest",
    "Machine",
    "Ratio",
    "bench",
    "compare",
    "machine_rows",
    "quoted",
    "read_stored",
    "store",
    "words",
    "workload_rows",
]
