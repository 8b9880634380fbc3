"""Golden references: every number of a network and a training, and a checker that says what is wrong with a port."""

from glassnet.verify.golden.bundle import Bundle
from glassnet.verify.golden.check import check
from glassnet.verify.golden.operation_bundles import write_layers
from glassnet.verify.golden.report import GoldenReport, NotJudged
from glassnet.verify.golden.writing import write

__all__ = ["Bundle", "GoldenReport", "NotJudged", "check", "write", "write_layers"]
