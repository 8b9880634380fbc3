"""The bench: glassnet's speed and memory beside a plain NumPy engine and PyTorch, measured in turn on this machine."""

from glassnet.verify.bench.machine import Machine
from glassnet.verify.bench.report import BenchReport, Contest, Ratio
from glassnet.verify.bench.running import bench
from glassnet.verify.bench.stored import compare, read_stored, store
from glassnet.verify.bench.tables import machine_rows, quoted, words, workload_rows

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
