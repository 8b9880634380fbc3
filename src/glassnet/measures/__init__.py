"""Measures: numbers about a model and its data. They draw nothing and leave the network as it is."""

from glassnet.measures.layers import (
    LayerSummary,
    layer_gradient_norms,
    layer_table,
    most_variable_channels,
    residual_blocks,
    stages,
)
from glassnet.measures.outcomes import (
    ClassScore,
    Misclassification,
    Outcome,
    class_scores,
    confusion_matrix,
    most_confident_errors,
    network_outcome,
    outcome,
    sample_indices,
)
from glassnet.measures.significance import accuracy_interval

__all__ = [
    "ClassScore",
    "LayerSummary",
    "Misclassification",
    "Outcome",
    "accuracy_interval",
    "class_scores",
    "confusion_matrix",
    "layer_gradient_norms",
    "layer_table",
    "most_confident_errors",
    "most_variable_channels",
    "network_outcome",
    "outcome",
    "residual_blocks",
    "sample_indices",
    "stages",
]
