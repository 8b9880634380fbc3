"""Measures: numbers about a model and its data. They draw nothing and leave the network as it is."""

from glassnet.classification import (
    ClassScore,
    Confusion,
    Misclassification,
    Outcome,
    accuracy_interval,
    balanced_accuracy,
    calibration_error,
    class_scores,
    confusion_matrix,
    confusions,
    most_confident_errors,
    top_k_accuracies,
    top_k_accuracy,
    worst_classes,
)
from glassnet.measures.layers import (
    LayerSummary,
    layer_gradient_norms,
    layer_table,
    most_variable_channels,
    residual_blocks,
    stages,
)
from glassnet.measures.outcomes import network_outcome, outcome, sample_indices

__all__ = [
    "ClassScore",
    "Confusion",
    "LayerSummary",
    "Misclassification",
    "Outcome",
    "accuracy_interval",
    "balanced_accuracy",
    "calibration_error",
    "class_scores",
    "confusion_matrix",
    "confusions",
    "layer_gradient_norms",
    "layer_table",
    "most_confident_errors",
    "most_variable_channels",
    "network_outcome",
    "outcome",
    "residual_blocks",
    "sample_indices",
    "stages",
    "top_k_accuracies",
    "top_k_accuracy",
    "worst_classes",
]
