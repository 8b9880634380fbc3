"""Page of the gradient flow study."""

from glassnet.formats import pluralize
from glassnet.pages.page import Page, Section, Table
from glassnet.pages.text import format_factor
from glassnet.studies.gradient_flow.figures import (
    block_gradient_figure,
    block_gradient_maps_figure,
    first_layer_figure,
    gradient_by_layer_figure,
)
from glassnet.studies.gradient_flow.measure import NORM_BATCH_SIZE, NORM_NAMES, RECIPE, GradientFlowStudy

MAX_OPEN_ROWS = 12


def build_page(study: GradientFlowStudy) -> Page:
    """Return the study as a page."""
    error = study.worst_block.error
    return Page(
        f"Gradient flow, plain against residual, on {study.data}",
        [
            ("Blocks", f"{len(study.blocks)}"),
            ("skip + F − total", f"{error:.1e}" if error else "0"),
            ("Skip against F", f"{format_factor(study.skip_ratio)}×"),
        ],
        study.summary,
        [_by_layer(study), _by_depth(study), _by_block(study)],
    )


def _by_layer(study: GradientFlowStudy) -> Section:
    how = (
        f"Norm of the loss's gradient for each convolution, on the same {NORM_BATCH_SIZE} images of {study.data}, "
        f"before and during training (SGD, learning rate {RECIPE.lr:g}, batches of {RECIPE.batch_size}, gradients "
        f"clipped at {RECIPE.clip_grad_norm:g}). A norm that shrinks on the way back to the first layers vanishes, and "
        "one that grows explodes; either way the layers cannot learn at one learning rate. The gradient of a weight is "
        "the product of the forward and the backward signal. Without normalization depth changes both, so the "
        "gradients of a deep network are small or large in all layers alike: compare the depths."
    )
    figures = [
        gradient_by_layer_figure([network for network in study.networks if network.norm == norm], NORM_NAMES[norm])
        for norm in dict.fromkeys(network.norm for network in study.networks)
    ]
    return Section("By layer", [how, *figures])


def _by_depth(study: GradientFlowStudy) -> Section:
    figures = [first_layer_figure(study)] if len(study.depths) > 1 else []
    after = f"after {pluralize(study.networks[0].steps[-1], 'step')}"
    rows = [
        {
            "Network": network.name,
            "Normalization": NORM_NAMES[network.norm],
            "First layer, before training": network.norms[0][0],
            "Last layer, before training": network.norms[0][-1],
            f"First layer, {after}": network.norms[-1][0],
            f"Last layer, {after}": network.norms[-1][-1],
            "Loss before training": network.losses[0],
            f"Loss {after}": network.losses[-1],
        }
        for network in study.networks
    ]
    table = Table.from_records("Gradient norms", rows, collapsed=bool(figures))
    return Section("By depth", [*figures, table])


def _by_block(study: GradientFlowStudy) -> Section:
    equation = (
        "A block computes y = a(S(x) + F(x)). With g the gradient at the sum, the gradient at its input is "
        "dx = S′(g) + F′(g). The identity passes g on as it is, for any F. Here each part is computed by the layers of "
        "its own path, and the total by the network's backward pass, all in float64."
    )
    columns = {
        "Block": "block",
        "Shortcut": "shortcut",
        "Through the skip": "skip",
        "Through F": "body",
        "Total": "total",
        "Cosine of the parts": "cosine",
        "Difference": "error",
    }
    rows = [{title: getattr(block, name) for title, name in columns.items()} for block in study.blocks]
    table = Table.from_records("Every block", rows, collapsed=len(rows) > MAX_OPEN_ROWS)
    maps, norms = block_gradient_maps_figure(study.blocks), block_gradient_figure(study.blocks)
    return Section("Both paths of a block", [equation, maps, norms, table])
