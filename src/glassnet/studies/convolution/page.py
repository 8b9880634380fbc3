"""Page of the convolution study."""

import inspect
from fractions import Fraction

import numpy as np

from glassnet.pages.page import Code, Page, Section, Table
from glassnet.pages.text import format_shape
from glassnet.studies.convolution.figures import (
    correlation_figure,
    kernel_response_figure,
    kernel_size_figure,
    receptive_field_growth_figure,
    receptive_field_overlay_figure,
)
from glassnet.studies.convolution.measure import ConvolutionStudy
from glassnet.verify import naive_convolution

MAX_OPEN_ROWS = 12


def build_page(study: ConvolutionStudy) -> Page:
    """Return the study as a page."""
    last = study.fields[-1]
    return Page(
        f"Convolution on {study.name}",
        [
            ("Image", format_shape(study.image.shape)),
            ("Difference from plain loops", f"{study.difference:.1e}"),
            (f"Receptive field of {last.layer}", format_shape(last.receptive_field.size)),
        ],
        study.summary,
        [_responses(study), Section("No flip", [correlation_figure(study)]), _sizes(study), _fields(study)],
    )


def _responses(study: ConvolutionStudy) -> Section:
    height, width = study.image.shape
    lead = (
        "A convolution puts a kernel on every position of the image, multiplies the pixels below it with its weights "
        f"and adds them up. Here it uses only positions where the kernel fits, so {height}×{width} pixels give "
        f"{height - 2}×{width - 2} responses."
    )
    sums = (
        "A kernel whose weights add up to 0 responds with 0 to uniform areas. A kernel whose weights add up to 1 "
        "keeps the brightness."
    )
    rows = [
        {
            "Kernel": response.kernel.name,
            "Responds to": response.kernel.responds_to,
            "Weights": " | ".join(" ".join(map(_fraction, row)) for row in response.kernel.weights),
            "Sum of the weights": round(float(np.sum(response.kernel.weights)), 12),
            "Largest response": max(-response.lowest, response.highest),
        }
        for response in study.responses
    ]
    table = Table.from_records("The kernels, row by row", rows, collapsed=True)
    code = Code("The definition in Python", inspect.getsource(naive_convolution.convolution))
    return Section("Kernel responses", [lead, kernel_response_figure(study), sums, table, code])


def _sizes(study: ConvolutionStudy) -> Section:
    formula = (
        "The output has ⌊(size + padding − dilation · (kernel − 1) − 1) / stride⌋ + 1 values along each axis, where "
        "the padding counts both borders. The number of channels does not change height and width: each output "
        "channel has its own kernel, which covers all input channels."
    )
    rows = [
        {
            "Changed": size.changed,
            "Input": format_shape((size.arguments["in_channels"], *study.image.shape)),
            "Kernels": format_shape(size.kernel_shape),
            "Output": format_shape(size.output_shape),
            "Parameters": size.parameters,
        }
        for size in study.sizes
    ]
    table = Table.from_records("Sizes by what is changed (channels×height×width)", rows)
    return Section("Output size", [formula, kernel_size_figure(study), table])


def _fields(study: ConvolutionStudy) -> Section:
    growth = (
        "Each further 3×3 layer adds two pixels to the receptive field, and four after a layer of stride 2. The "
        "shortcut adds none."
    )
    rows = [
        {
            "Layer": field.layer,
            "Output": format_shape(field.output_shape),
            "Receptive field (pixels)": format_shape(field.receptive_field.size),
            "Stride (pixels)": format_shape(field.receptive_field.stride),
        }
        for field in study.fields
    ]
    table = Table.from_records(f"Receptive fields in {study.model}", rows, collapsed=len(rows) > MAX_OPEN_ROWS)
    overlay, curve = receptive_field_overlay_figure(study), receptive_field_growth_figure(study)
    return Section("Receptive field", [growth, overlay, curve, table])


def _fraction(weight: float) -> str:
    return str(Fraction(weight).limit_denominator(16)).replace("-", "−")
