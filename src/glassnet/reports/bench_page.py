"""The page of a bench: ratios first, then each workload's table, and the machine."""

from pathlib import Path

from glassnet.bench import BenchReport, TaskTimings
from glassnet.formats import pluralize
from glassnet.pages.page import Page, Section, Table, write_page
from glassnet.reports.bench_figures import ratio_figure


def write_bench(report: BenchReport, path: Path | str = "bench.html") -> Path:
    """Write the bench as one HTML file that opens offline; an existing file is replaced.

    :returns: the path.
    :raises RunError: if the file cannot be written.
    """
    return write_page(build_page(report), Path(path))


def build_page(report: BenchReport) -> Page:
    """Return the bench as a page, not yet written."""
    key_figures = [
        (f"{workload} beside {ratio.implementation}", f"{ratio.quartiles.median:.2f}× the time")
        for workload, timings in report.timings.items()
        for ratio in timings.ratios("time")
    ]
    method = (
        f"Each of {pluralize(report.rounds, 'round')} timed every implementation once, one after another in one "
        "process, after a check in float64 that all compute the same. A ratio divides two times of the same round; an "
        "implementation with several settings counts with its fastest."
    )
    machine = Table("Machine and versions", ["Name", "Value"], report.machine_rows)
    sections = [
        Section("Ratios", [ratio_figure({name: timings.ratios("time") for name, timings in report.timings.items()})]),
        *(_workload_section(name, timings) for name, timings in report.timings.items()),
        Section("Machine", [machine]),
    ]
    return Page("Speed and memory of glassnet", key_figures, [method, *report.notes], sections)


def _workload_section(name: str, timings: TaskTimings) -> Section:
    rows = timings.table_rows()
    table = Table(timings.workload.title, list(rows[0]), [list(row.values()) for row in rows], nowrap=True)
    return Section(name, [*timings.summary, table])
