"""Arrays and records in, a ``plotly.graph_objects.Figure`` out: one idea a function, its caption beside it."""

from glassnet.insight.figures.ablation import block_loss_figure, block_worth_figure
from glassnet.insight.figures.classes import confusion_figure, precision_recall_figure
from glassnet.insight.figures.comparison import (
    NO_DISAGREEMENT,
    accuracy_comparison,
    confusion_comparison,
    disagreement_figure,
    epoch_time_figure,
    loss_comparison,
)
from glassnet.insight.figures.convolution import (
    correlation_figure,
    field_growth_figure,
    field_on_picture_figure,
    kernel_answer_figure,
    output_size_figure,
)
from glassnet.insight.figures.curves import accuracy_curve, gradient_norm_curves, loss_curve
from glassnet.insight.figures.degradation import depth_error_figure, descent_figure
from glassnet.insight.figures.gradient_flow import (
    first_layer_figure,
    gradient_by_layer_figure,
    split_figure,
    split_maps_figure,
)
from glassnet.insight.figures.learning_rate import learning_rate_figure
from glassnet.insight.figures.maps import feature_map_figure, filter_figure
from glassnet.insight.figures.parameters import dense_example_figure, parameter_figure
from glassnet.insight.figures.pictures import NO_MISTAKES, mistake_figure, sample_figure
from glassnet.insight.figures.speed import ratio_figure, roofline_figure
from glassnet.insight.figures.sweep import field_figure, settings_figure
from glassnet.insight.figures.theme import caption

__all__ = [
    "NO_DISAGREEMENT",
    "NO_MISTAKES",
    "accuracy_comparison",
    "accuracy_curve",
    "block_loss_figure",
    "block_worth_figure",
    "caption",
    "confusion_comparison",
    "confusion_figure",
    "correlation_figure",
    "dense_example_figure",
    "depth_error_figure",
    "descent_figure",
    "disagreement_figure",
    "epoch_time_figure",
    "feature_map_figure",
    "field_figure",
    "field_growth_figure",
    "field_on_picture_figure",
    "filter_figure",
    "first_layer_figure",
    "gradient_by_layer_figure",
    "gradient_norm_curves",
    "kernel_answer_figure",
    "learning_rate_figure",
    "loss_comparison",
    "loss_curve",
    "mistake_figure",
    "output_size_figure",
    "parameter_figure",
    "precision_recall_figure",
    "ratio_figure",
    "roofline_figure",
    "sample_figure",
    "settings_figure",
    "split_figure",
    "split_maps_figure",
]
