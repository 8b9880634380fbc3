"""The doctor's page: the findings in order of use, each number beside what is normal, and all that was sound."""

from __future__ import annotations

from pathlib import Path

from glassnet.doctor.diagnose import Checked, Examination, count_names
from glassnet.pages import figures
from glassnet.pages.page import Page, Section, Table, write_page


def write_examination(examination: Examination, path: Path | str) -> Path:
    """Writes the examination as one HTML file that opens offline; an older one is replaced.

    :raises RunError: the file cannot be written.
    """
    return write_page(compose(examination), Path(path))


def compose(examination: Examination) -> Page:
    """The examination as a page, not yet written."""
    findings, sound, unseen = examination.findings, examination.sound, examination.unseen
    facts = [
        ("First finding", _capitalized(findings[0].diagnosis.name) if findings else "None"),
        ("Findings", str(len(findings))),
        ("Sound", str(count_names(sound))),
        ("Not looked for", str(count_names(unseen))),
    ]
    sections = [_finding(number, one) for number, one in enumerate(findings, start=1)]
    if examination.evidence.history:
        history = examination.evidence.history
        sections.append(Section("The training", [figures.loss_curve(history), figures.accuracy_curve(history)]))
    sections.append(_looked_at(sound, examination.unseen_by_reason))
    return Page(f"The doctor on {Path(examination.subject).name}", facts, [examination.sentence], sections)


def _finding(number: int, one: Checked) -> Section:
    diagnosis, reading = one.diagnosis, one.reading
    assert reading is not None
    evidence = Table(
        "How it knows",
        ["What", "Finding"],
        [
            ["Measured", reading.measured],
            ["Normal", diagnosis.normal],
            ["Sureness", str(reading.sure)],
            ["Why this limit", diagnosis.source],
        ],
    )
    steps = [f"{step}. {_capitalized(advice)}." for step, advice in enumerate(diagnosis.advice, start=1)]
    title = f"{number}. {_capitalized(diagnosis.name)}"
    return Section(title, [reading.says, evidence, "What to do next, in this order:", *steps])


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]


def _looked_at(sound: list[Checked], unseen: dict[str, list[str]]) -> Section:
    rows = [[one.diagnosis.name, one.reading.measured, one.diagnosis.normal] for one in sound if one.reading]
    blocks: list[str | Table] = []
    if rows:
        blocks.append(Table("Looked for and not found", ["Fault", "Measured", "Normal"], rows))
    if unseen:
        rows = [[why, ", ".join(names)] for why, names in unseen.items()]
        blocks.append(Table("Not looked for", ["Why not", "Faults"], rows))
    return Section("What was checked", blocks or ["Nothing else."])
