"""The page of a bench: ratios first, then every workload's table, the roofline, and the machine."""

from pathlib import Path

from glassnet.bench import BenchReport, machine_rows, quoted, words, workload_rows
from glassnet.pages.page import Page, Section, Table, write_page
from glassnet.reports import bench_figures as figures


def write_bench(report: BenchReport, path: Path | str = "bench.html") -> Path:
    """Writes the bench as one HTML file that opens offline; an older one is replaced.

    :returns: The path written.
    :raises RunError: the file cannot be written.
    """
    return write_page(compose(report), Path(path))


def compose(report: BenchReport) -> Page:
    """The bench as a page, not yet written."""
    key_figures = [
        (f"{workload}: of PyTorch's time", f"{ratio.spread.median:.2f}×")
        for workload, contests in report.contests.items()
        for ratio in quoted(contests)
        if ratio.engine == "PyTorch"
    ]
    turns = "1 round" if report.rounds == 1 else f"{report.rounds} rounds"
    how = (
        "Everybody computes the same numbers, which was checked first in float64, and had a turn in each of "
        f"{turns} in one process. A ratio is glassnet's time by the other's in the same round; of several settings of "
        "an engine the quickest counts."
    )
    sections = [_ratios(report), *(_workload(report, name) for name in report.contests), _machine(report)]
    return Page("Speed and memory of glassnet", key_figures, [how, *report.notes], sections)


def _ratios(report: BenchReport) -> Section:
    ratios = {name: quoted(contests) for name, contests in report.contests.items() if len(contests) == 1}
    return Section("Ratios", [figures.ratio_figure(ratios)])


def _workload(report: BenchReport, name: str) -> Section:
    contests, rows, title = report.contests[name], workload_rows(report, name), report.titles[name]
    figure = [figures.roofline_figure(contests, report.machine)] if len(contests) > 1 else []
    table = Table(title, list(rows[0]), [list(row.values()) for row in rows], nowrap=True)
    return Section(name, [*words(name, contests), *figure, table])


def _machine(report: BenchReport) -> Section:
    return Section("Machine", [Table("What it was measured on", ["What", "Which"], machine_rows(report.machine))])
