"""Proofs that the numbers are right: gradients against central differences, engine against engine."""

from glassnet.verify.faults import Fault
from glassnet.verify.finite_differences import GradientComparison
from glassnet.verify.gradient_report import GradientReport
from glassnet.verify.gradients import (
    check_all_layers,
    check_gradients,
    check_layer,
    check_network,
    check_state,
)
from glassnet.verify.parity import check_parity
from glassnet.verify.parity_report import ParityReport, TensorDifference

__all__ = [
    "Fault",
    "GradientComparison",
    "GradientReport",
    "ParityReport",
    "TensorDifference",
    "check_all_layers",
    "check_gradients",
    "check_layer",
    "check_network",
    "check_parity",
    "check_state",
]
