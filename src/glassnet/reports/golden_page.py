"""The page of a golden check: the verdict, the network with its first wrong operation, and the error of each tensor."""

from pathlib import Path

from glassnet.formats import pluralize
from glassnet.pages.page import Page, Section, Table, write_page
from glassnet.pages.text import Cell
from glassnet.reports.golden_figures import error_figure, network_figure
from glassnet.verify.golden.judging import GoldenRow
from glassnet.verify.golden.report import GoldenReport

COLUMNS = ("Tensor", "Operation", "Direction", "Error", "Tolerance", "Verdict")


def write_golden_report(report: GoldenReport, path: Path | str, port: str = "the port") -> Path:
    """Write the verdict on a port as one HTML file that opens offline; an existing file is replaced.

    :param port: the port's name on the page.
    :returns: the path.
    :raises RunError: if the file cannot be written.
    """
    return write_page(build_page(report, port), Path(path))


def build_page(report: GoldenReport, port: str) -> Page:
    """Return the page, not yet written."""
    verdict = "passed" if report.passed else "failed"
    key_figures = [("Verdict", verdict), ("Tensors judged", f"{report.judged:,}")]
    if report.first:
        key_figures += [("First wrong operation", report.first.operation), ("Likely cause", report.cause or "unknown")]
    summary = report.sentences or [f"All {pluralize(report.judged, 'tensor')} of {port} are right within rounding."]
    sections = []
    if report.operations:
        sections.append(Section("Network", [network_figure(report), error_figure(report)]))
    if report.failing:
        sections.append(
            Section("Wrong tensors", [_table("Wrong tensors, in the order of the dataflow", report.failing)])
        )
    sections.append(Section("All tensors", [_table("All tensors, in the order of the dataflow", report.rows, True)]))
    if report.not_judged or report.notes:
        missing = [[tensor.tensor, tensor.reason] for tensor in report.not_judged]
        table = Table("Tensors without a verdict", ["Tensor", "Reason"], missing, collapsed=len(missing) > 12)
        sections.append(Section("Not judged", [*report.notes, table] if missing else [*report.notes]))
    return Page(f"Golden check of {port}", key_figures, summary, sections)


def _table(title: str, rows: tuple[GoldenRow, ...], collapsed: bool = False) -> Table:
    cells: list[list[Cell]] = [
        [row.tensor, row.operation, row.direction, row.error, row.tolerance, _verdict(row)] for row in rows
    ]
    return Table(title, COLUMNS, cells, collapsed=collapsed)


def _verdict(row: GoldenRow) -> str:
    if row.not_judged:
        return f"not judged: {row.not_judged}"
    return "right" if row.passed else f"wrong, {row.pattern or 'another shape'}"
