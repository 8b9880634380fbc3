"""Gradient flow to the first layers: plain against residual networks, by depth, and through both paths of a block."""

from glassnet.studies.gradient_flow.blocks import BlockGradient, block_gradients
from glassnet.studies.gradient_flow.figures import (
    block_gradient_figure,
    block_gradient_maps_figure,
    first_layer_figure,
    gradient_by_layer_figure,
)
from glassnet.studies.gradient_flow.measure import (
    ComparedNetworks,
    GradientFlowStudy,
    GradientNorms,
    run_study,
)
from glassnet.studies.gradient_flow.page import build_page

__all__ = [
    "BlockGradient",
    "ComparedNetworks",
    "GradientFlowStudy",
    "GradientNorms",
    "block_gradient_figure",
    "block_gradient_maps_figure",
    "block_gradients",
    "build_page",
    "first_layer_figure",
    "gradient_by_layer_figure",
    "run_study",
]
