"""Proofs that the numbers are right: gradients against central differences, engine against engine."""

from glassnet.verify.finite_differences import GradientComparison
from glassnet.verify.gradients import (
    GradientReport,
    check_all_layers,
    check_gradients,
    check_layer,
    check_network,
    check_state,
)
from glassnet.verify.parity import ParityReport, TensorDifference, check_parity

__all__ = [
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
