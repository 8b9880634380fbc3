"""Convolution on one image: responses of kernels, output sizes, and receptive fields of a model."""

from glassnet.studies.convolution.figures import (
    correlation_figure,
    kernel_response_figure,
    kernel_size_figure,
    receptive_field_growth_figure,
    receptive_field_overlay_figure,
)
from glassnet.studies.convolution.kernels import KERNELS
from glassnet.studies.convolution.measure import (
    ConvolutionStudy,
    convolve,
    output_sizes,
    receptive_fields,
    run_study,
)
from glassnet.studies.convolution.page import build_page

__all__ = [
    "KERNELS",
    "ConvolutionStudy",
    "build_page",
    "convolve",
    "correlation_figure",
    "kernel_response_figure",
    "kernel_size_figure",
    "output_sizes",
    "receptive_field_growth_figure",
    "receptive_field_overlay_figure",
    "receptive_fields",
    "run_study",
]
