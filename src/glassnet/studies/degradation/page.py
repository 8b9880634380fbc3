"""The page of the degradation study."""

from dataclasses import astuple

from glassnet.formats import format_accuracy, format_loss, pluralize
from glassnet.pages.page import Page, Section, Table
from glassnet.studies.degradation.figures import depth_error_figure, training_curve_figure
from glassnet.studies.degradation.measure import NETWORKS, NORM_TITLES, RECIPE, DegradationStudy

_METRICS = {
    "training error": ("error", format_accuracy),
    "training loss": ("loss", format_loss),
    "test error": ("test_error", format_accuracy),
}


def build_page(study: DegradationStudy) -> Page:
    """Return the study as a page."""
    ends = {
        f"{network.capitalize()}, {depth} layers": study.final(study.norms[0], residual, depth)
        for network, residual in NETWORKS.items()
        for depth in (study.depths[0], study.depths[-1])
    }
    key_figures = [(name, "diverged" if end is None else f"{end.mean:.1%} error") for name, end in ends.items()]
    sections = [
        Section(
            NORM_TITLES[norm],
            [
                depth_error_figure(study, norm),
                training_curve_figure(study, norm, "error"),
                training_curve_figure(study, norm, "loss"),
            ],
        )
        for norm in study.norms
    ]
    return Page(
        f"Degradation on {study.data}: plain and residual networks",
        key_figures,
        study.summary,
        [
            *sections,
            Section("Tables", [_final_table(study), _effect_table(study)]),
            Section("Method", [_method(study)]),
        ],
    )


def _method(study: DegradationStudy) -> str:
    return (
        f"The networks are those of He et al. (2015, sec. 4.2) for small images, with "
        f"{pluralize(study.width, 'channel')} in the first stage. They train for {pluralize(study.epochs, 'epoch')} on "
        f"{study.images:,} images of {study.data}: SGD with Nesterov momentum, batch size {RECIPE.batch_size}, "
        f"one-cycle learning rate up to {RECIPE.lr:g}, gradient norm clipped at "
        f"{RECIPE.clip_grad_norm:g}. A plain and a residual network of one depth differ only "
        "in the skip connections, which have no parameters. After each epoch all training images are classified in "
        "evaluation mode, so that errors and losses of all networks are comparable."
    )


def table_rows(study: DegradationStudy) -> list[dict[str, str | int]]:
    """Return the final metrics of each network, as mean ± standard deviation over the seeds."""
    rows: list[dict[str, str | int]] = []
    for norm in study.norms:
        for network, residual in NETWORKS.items():
            for depth in study.depths:
                cells = {}
                for title, (metric, number) in _METRICS.items():
                    end = study.final(norm, residual, depth, metric)
                    cells[title] = "diverged" if end is None else end.format(number)
                rows.append({"network": network, "norm": norm, "layers": depth, **cells})
    return rows


def _final_table(study: DegradationStudy) -> Table:
    rows = table_rows(study)
    title = f"After the last epoch, mean ± standard deviation over {pluralize(len(study.seeds), 'seed')}"
    return Table(title, [name.capitalize() for name in rows[0]], [list(row.values()) for row in rows], nowrap=True)


def _effect_table(study: DegradationStudy) -> Table:
    shallowest, deepest = study.depths[0], study.depths[-1]
    effects = {}
    for norm in study.norms:
        for network, residual in NETWORKS.items():
            effects[f"{network}: {deepest} layers − {shallowest} layers", norm] = study.depth_effect(norm, residual)
        for depth in study.depths:
            effects[f"{depth} layers: plain − residual", norm] = study.skip_effect(norm, depth)
    rows = [
        (name, norm, *((None,) * 4 if effect is None else astuple(effect))) for (name, norm), effect in effects.items()
    ]
    columns = ["Difference", "Norm", "Mean", "95% from", "to", "p-value"]
    return Table("Differences of training errors, paired t-test over the seeds", columns, rows, nowrap=True)
