"""Figures: functions that take arrays and records and return a ``plotly.graph_objects.Figure`` with its caption."""

from glassnet.pages.figures.classes import confusion_figure, precision_recall_figure
from glassnet.pages.figures.curves import accuracy_curve, gradient_norm_curves, loss_curve
from glassnet.pages.figures.images import NO_ERRORS_TEXT, misclassified_figure, sample_figure
from glassnet.pages.figures.maps import feature_map_figure, filter_figure
from glassnet.pages.figures.numbers import number_figure
from glassnet.pages.figures.residual import residual_block_figure
from glassnet.pages.figures.seeds import seed_range_figure
from glassnet.pages.theme import caption

__all__ = [
    "NO_ERRORS_TEXT",
    "accuracy_curve",
    "caption",
    "confusion_figure",
    "feature_map_figure",
    "filter_figure",
    "gradient_norm_curves",
    "loss_curve",
    "misclassified_figure",
    "number_figure",
    "precision_recall_figure",
    "residual_block_figure",
    "sample_figure",
    "seed_range_figure",
]
