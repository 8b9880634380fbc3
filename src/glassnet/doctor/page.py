"""The doctor's page: the findings with their evidence and advice, then the checks that passed or were skipped."""

from __future__ import annotations

from pathlib import Path

from glassnet.doctor.report import CheckOutcome, DoctorReport
from glassnet.pages import figures
from glassnet.pages.page import Block, Code, Page, Section, Table, write_page


def write_doctor_report(report: DoctorReport, path: Path | str) -> Path:
    """Write the report as one HTML file that opens offline, and replace an older one.

    :returns: the path of the file.
    :raises RunError: if the file cannot be written.
    """
    return write_page(build_page(report), Path(path))


def build_page(report: DoctorReport) -> Page:
    """Return the report as a page, not yet written."""
    findings, history = report.findings, report.context.history
    key_figures = [
        ("First finding", _capitalize(findings[0].check.name) if findings else "None"),
        ("Findings", str(len(findings))),
        ("Checks passed", str(len(report.passed))),
        ("Checks skipped", str(len(report.skipped))),
    ]
    sections = [_finding_section(number, finding) for number, finding in enumerate(findings, start=1)]
    if history:
        context = report.context
        is_averaged = context.has("recipe") and context.recipe.ema > 0
        losses = figures.loss_curve(
            history, context.label_smoothing, is_weighted=context.has_class_weights, is_averaged=is_averaged
        )
        curves = [losses, figures.accuracy_curve(history, is_averaged=is_averaged)]
        sections.append(Section("The training", curves))
    if report.passed:
        rows = [
            [passed.check.name, passed.result.measured, passed.check.expected]
            for passed in report.passed
            if passed.result
        ]
        sections.append(Section("Checks passed", [Table("Faults not found", ["Fault", "Measured", "Expected"], rows)]))
    if report.skipped:
        rows = [[", ".join(names), reason] for reason, names in report.skip_reasons.items()]
        sections.append(Section("Checks skipped", [Table("Faults not looked for", ["Faults", "Reason"], rows)]))
    if report.notes:
        sections.append(Section("How to read this page", report.notes))
    return Page(f"Doctor: {Path(report.subject).name}", key_figures, report.summary, sections)


def _finding_section(number: int, outcome: CheckOutcome) -> Section:
    check, result = outcome.check, outcome.result
    assert result is not None
    evidence = Table(
        "Evidence",
        ["Property", "Value"],
        [
            ["Measured", result.measured],
            ["Expected", check.expected],
            ["Confidence", result.confidence],
            ["Source of the limit", check.source],
        ],
    )
    steps: list[Block] = []
    for number_of_step, (step, command) in enumerate(outcome.steps, start=1):
        steps.append(f"{number_of_step}. {_capitalize(step)}" + ("" if "--" in step else "."))
        if command:
            steps.append(Code("Whole command", command, collapsed=False))
    title = f"{number}. {_capitalize(check.name)}"
    return Section(title, [result.message, evidence, "What to do, in this order:", *steps])


def _capitalize(text: str) -> str:
    return text[:1].upper() + text[1:]
