"""The doctor's page: the findings in order of use, each number beside what is normal, and all that was sound."""

from __future__ import annotations

from pathlib import Path

from glassnet.insight import figures
from glassnet.insight.doctor.examination import Checked, Examination
from glassnet.insight.page import Page, Section, Table, write_page


def write_examination(examination: Examination, path: Path | str) -> Path:
    """Writes the examination as one HTML file that opens offline; an older one is replaced.

    :raises RunError: the file cannot be written.
    """
    return write_page(compose(examination), Path(path))


def compose(examination: Examination) -> Page:
    """The examination as a page, not yet written."""
    findings, sound, unseen = examination.findings, examination.sound, examination.unseen
    facts = [
        ("First finding", findings[0].diagnosis.name if findings else "none"),
        ("Findings", str(len(findings))),
        ("Sound", str(len(sound))),
        ("Not looked at", str(len(unseen))),
    ]
    sections = [_finding(number, one) for number, one in enumerate(findings, start=1)]
    if examination.evidence.history:
        history = examination.evidence.history
        sections.append(Section("The training", [figures.loss_curve(history), figures.accuracy_curve(history)]))
    sections.append(_looked_at(sound, unseen))
    return Page(f"The doctor on {Path(examination.subject).name}", facts, [examination.sentence], sections)


def _finding(number: int, one: Checked) -> Section:
    diagnosis, reading = one.diagnosis, one.reading
    assert reading is not None
    evidence = Table(
        "How it knows",
        ["Question", "Answer"],
        [
            ["Measured", reading.measured],
            ["Normal", diagnosis.normal],
            ["Sureness", str(reading.sure)],
            ["Why this limit", diagnosis.source],
        ],
    )
    steps = [f"{step}. {advice[:1].upper()}{advice[1:]}." for step, advice in enumerate(diagnosis.advice, start=1)]
    title = f"{number}. {diagnosis.name[:1].upper()}{diagnosis.name[1:]}"
    return Section(title, [reading.says, evidence, "What to do next, in this order:", *steps])


def _looked_at(sound: list[Checked], unseen: list[Checked]) -> Section:
    rows = [[one.diagnosis.name, one.reading.measured, one.diagnosis.normal] for one in sound if one.reading]
    blocks: list[str | Table] = []
    if rows:
        blocks.append(Table("Looked for and not found", ["Fault", "Measured", "Normal"], rows))
    if unseen:
        columns = ["Fault", "Why not"]
        blocks.append(Table("Not looked for", columns, [[one.diagnosis.name, one.why_not] for one in unseen]))
    return Section("What was checked", blocks or ["Nothing else."])
