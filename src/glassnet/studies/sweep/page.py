"""The page of the sweep, and its table as Markdown."""

from glassnet.formats import format_accuracy, format_loss, pluralize
from glassnet.pages.page import Code, Page, Section, Table
from glassnet.pages.text import format_cell
from glassnet.studies.sweep.figures import effect_figure, sweep_figure
from glassnet.studies.sweep.grid import format_setting
from glassnet.studies.sweep.measure import TEST, SweepStudy, seed_stats

MAX_OPEN_ROWS = 24


def build_page(study: SweepStudy) -> Page:
    """Return the study as a page."""
    best, count = study.ranked[0].stats, len(study.settings)
    key_figures = [
        ("Settings", f"{count:,}"),
        ("Runs", f"{count * len(study.seeds):,}"),
        (f"Best {study.split} accuracy", best.format(format_accuracy) if best else "–"),
    ]
    sections = [
        Section("Settings", [sweep_figure(study), _setting_table(study), Code("Table as Markdown", markdown(study))])
    ]
    if study.varied:
        sections.insert(0, Section("Effects", [effect_figure(study), _effect_table(study)]))
    fields = ", ".join(name for name, _ in study.varied) or "its defaults"
    return Page(f"Sweep of {study.model} on {study.data}: {fields}", key_figures, study.summary, sections)


def _effect_table(study: SweepStudy) -> Table:
    rows = [
        (
            effect.field,
            f"{format_setting(effect.first)} − {format_setting(effect.second)}",
            effect.difference.mean,
            effect.difference.low,
            effect.difference.high,
            effect.difference.p_value,
            "not tested" if effect.difference.p_value is None else "yes" if effect.is_significant else "no",
        )
        for effect in study.effects
    ]
    columns = ["Field", "Values", "Difference", "95% from", "to", "p-value", "Significant"]
    title = f"Differences in {study.split} accuracy, {TEST}"
    return Table(title, columns, rows, collapsed=len(rows) > MAX_OPEN_ROWS, nowrap=True)


def _setting_table(study: SweepStudy) -> Table:
    rows = table_rows(study)
    title = f"Settings, best first; mean ± standard deviation over {pluralize(len(study.seeds), 'seed')}"
    columns, cells = [name.capitalize() for name in rows[0]], [list(row.values()) for row in rows]
    return Table(title, columns, cells, collapsed=len(rows) > MAX_OPEN_ROWS, nowrap=True)


def table_rows(study: SweepStudy) -> list[dict[str, str | int | float]]:
    """Return the settings, best first: values, parameters, accuracy and loss as mean ± standard deviation, time."""
    rows: list[dict[str, str | int | float]] = []
    for setting in study.ranked:
        accuracy, loss = (
            "diverged" if (stats := seed_stats(values)) is None else stats.format(number)
            for values, number in ((setting.accuracy, format_accuracy), (setting.loss, format_loss))
        )
        rows.append(
            {
                **{field: format_setting(value) for field, value in setting.values},
                "parameters": setting.parameters,
                f"{study.split} accuracy": accuracy,
                f"{study.split} loss": loss,
                "seconds": round(setting.seconds, 1),
            }
        )
    return rows


def markdown(study: SweepStudy) -> str:
    """Return the table of settings as Markdown."""
    rows = table_rows(study)
    lines = [[*rows[0]], ["---"] * len(rows[0]), *([format_cell(cell) for cell in row.values()] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
