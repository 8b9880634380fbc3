"""The doctor's round: every diagnosis of the table, in the order of causes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from glassnet.data import Dataset, load_data
from glassnet.doctor import data_checks, network_checks, speed_checks, training_checks
from glassnet.doctor.check import SURENESS, Diagnosis, Reading
from glassnet.doctor.context import Evidence, run_image_size
from glassnet.errors import ConfigError, GlassnetError

# Causes stand before what they cause: wrong gradients and data spoil every training, a bad start or step size kills
# ReLUs, and what is left to say of a sound training is its capacity, its gap, its speed.
DIAGNOSES: tuple[Diagnosis, ...] = (
    network_checks.WrongGradient(),
    data_checks.WrongNormalization(),
    data_checks.DuplicatedClass(),
    data_checks.WrongLabels(),
    data_checks.BlankImages(),
    data_checks.Leak(),
    data_checks.Duplicates(),
    data_checks.Unbalanced(),
    network_checks.DeadFromTheStart(),
    network_checks.BadInitialization(),
    training_checks.RateTooHigh(),
    network_checks.DiedInTraining(),
    training_checks.RateTooLow(),
    training_checks.LowCapacity(),
    training_checks.Overfitting(),
    speed_checks.SlowDecoding(),
    speed_checks.SmallBatch(),
    speed_checks.Float64(),
    speed_checks.Threads(),
)


@dataclass(frozen=True)
class Checked:
    """A diagnosis and what it measured, or why it could not measure."""

    diagnosis: Diagnosis
    reading: Reading | None
    why_not: str = ""

    @property
    def rank(self) -> int:
        """0 for the surest findings; beyond SURENESS for none."""
        found = self.reading is not None and self.reading.sure
        return SURENESS.index(found) if found else len(SURENESS)

    def plain(self) -> dict[str, Any]:
        reading = self.reading
        if reading is None:
            return {"name": self.diagnosis.name, "why": self.why_not}
        about = {
            "name": self.diagnosis.name,
            "measured": reading.measured,
            "value": reading.value if math.isfinite(reading.value) else None,
            "normal": self.diagnosis.normal,
        }
        if not reading.sure:
            return about
        return {**about, "sure": reading.sure, "says": reading.says, "advice": list(self.diagnosis.advice)}


@dataclass(frozen=True)
class Examination:
    """What was found, the likeliest root cause first, and everything that was looked at."""

    subject: str
    evidence: Evidence
    checked: Sequence[Checked]

    @property
    def findings(self) -> list[Checked]:
        """What is wrong: the surest first, and of equally sure ones causes before what they cause."""
        return sorted((one for one in self.checked if one.rank < len(SURENESS)), key=lambda one: one.rank)

    @property
    def sound(self) -> list[Checked]:
        """What was looked for and not found, in no other way either."""
        found = {one.diagnosis.name for one in self.findings}
        sound = (one for one in self.checked if one.reading is not None and not one.reading.sure)
        return [one for one in sound if one.diagnosis.name not in found]

    @property
    def unseen(self) -> list[Checked]:
        return [one for one in self.checked if one.reading is None]

    @property
    def unseen_by_reason(self) -> dict[str, list[str]]:
        """The names of what could not be looked for, below why not."""
        reasons: dict[str, list[str]] = {}
        for one in self.unseen:
            names = reasons.setdefault(one.why_not, [])
            if one.diagnosis.name not in names:
                names.append(one.diagnosis.name)
        return reasons

    @property
    def sentence(self) -> str:
        """The short of it. Faults are counted by name: one may be looked for in two ways."""
        findings, possible = self.findings, count_names(self.checked)
        looked = count_names([*self.sound, *findings])
        rest = f" {count_names(self.unseen)} could not be looked for." if self.unseen else ""
        if not findings:
            state = "looks healthy" if looked else "cannot be judged"
            return f"{self.subject} {state}: {looked} of {possible} possible faults were looked for.{rest}"
        first = findings[0]
        assert first.reading is not None
        others = "" if len(findings) == 1 else f" {len(findings) - 1} more below, which may follow from it."
        return f"{self.subject}: {first.diagnosis.name} (sureness: {first.reading.sure}).{others}{rest}"

    def plain(self) -> dict[str, Any]:
        """The whole as JSON holds it."""
        return {
            "subject": self.subject,
            "healthy": not self.findings,
            "summary": self.sentence,
            "findings": [one.plain() for one in self.findings],
            "sound": [one.plain() for one in self.sound],
            "not_checked": [one.plain() for one in self.unseen],
        }


def count_names(checked: Sequence[Checked]) -> int:
    return len({one.diagnosis.name for one in checked})


def examine(
    run: str | PathLike[str] | None = None,
    data: str | PathLike[str] | Dataset | None = None,
    *,
    image_size: int | None = None,
    max_unreadable: float = 0.01,
) -> Examination:
    """Look for everything in ``DIAGNOSES``: in a run, in images before any training, or in both together.

    ``run`` is a run folder, of a training that finished, was stopped or failed, or of imported weights. ``data`` is a
    Dataset or what ``load_data`` takes, by default what the run was trained on. ``load_data`` takes
    ``image_size``, by default the run's, and ``max_unreadable`` as well. Nothing is changed or written.

    :raises ConfigError: neither was given.
    :raises RunError: a folder that is missing, holds no run, or a damaged one.
    :raises DataError: images that cannot be used, or do not fit the run's network.
    """
    if run is None and data is None:
        raise ConfigError("The doctor needs a run, data, or both. Got neither.")
    path = None if run is None else Path(run)
    if data is not None and not isinstance(data, Dataset):
        size = run_image_size(path) if image_size is None and path is not None else image_size
        data = load_data(data, image_size=size, max_unreadable=max_unreadable)
    evidence = Evidence(path, data)
    subject = str(path) if path is not None else _named(evidence.dataset)
    # Networks that diverged compute with infinities; that is what is looked for.
    with np.errstate(all="ignore"):
        return Examination(subject, evidence, [_checked(diagnosis, evidence) for diagnosis in DIAGNOSES])


def _named(data: Dataset | None) -> str:
    assert data is not None
    name = Path(str(data.source["source"])).name
    return f"{name} ({len(data.train):,} training and {len(data.test):,} test images)"


def _checked(diagnosis: Diagnosis, evidence: Evidence) -> Checked:
    if missing := evidence.lacks(diagnosis.needs):
        return Checked(diagnosis, None, missing)
    try:
        reading = diagnosis.read(evidence)
    except GlassnetError as error:  # such as images too small for the network: the other diagnoses can still be made
        return Checked(diagnosis, None, str(error))
    return Checked(diagnosis, None, reading) if isinstance(reading, str) else Checked(diagnosis, reading)
