"""Diagnosis of a run or of images: every check of one table, in the order of causes."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np

from glassnet.data import Dataset
from glassnet.data.images.image_form import MAX_PIXELS, Fit
from glassnet.data.load_options import MAX_UNREADABLE
from glassnet.doctor import data_checks, learning_rate_checks, network_checks, speed_checks, training_checks
from glassnet.doctor.check import Check
from glassnet.doctor.context import CheckContext
from glassnet.doctor.remedy import training_command
from glassnet.doctor.report import CheckOutcome, DoctorReport
from glassnet.errors import ConfigError, GlassnetError
from glassnet.formats import pluralize
from glassnet.progress import Progress, show_progress

# Causes precede their effects. Wrong gradients and wrong data spoil every training, bad initial weights or a wrong
# learning rate kill ReLUs; capacity, generalization and speed matter only in a training that works.
CHECKS: tuple[Check, ...] = (
    network_checks.WrongGradient(),
    data_checks.WrongNormalization(),
    data_checks.DuplicatedClass(),
    data_checks.WrongLabels(),
    data_checks.BlankImages(),
    data_checks.FewLevels(),
    data_checks.TrainTestOverlap(),
    data_checks.DuplicateImages(),
    data_checks.ClassImbalance(),
    network_checks.DeadReluAtInit(),
    network_checks.BadInitialization(),
    learning_rate_checks.LearningRateTooHigh(),
    network_checks.DeadReluAfterTraining(),
    learning_rate_checks.LearningRateTooLow(),
    training_checks.TooLittleCapacity(),
    training_checks.Overfitting(),
    speed_checks.SlowDecoding(),
    speed_checks.SmallBatch(),
    speed_checks.Float64(),
    speed_checks.BadThreadCount(),
)

# Faults that exclude each other: the evidence that the checks measure decides for at most one of each pair.
CONTRADICTIONS: tuple[tuple[str, str], ...] = (
    (learning_rate_checks.LearningRateTooHigh.name, learning_rate_checks.LearningRateTooLow.name),
    (learning_rate_checks.LearningRateTooLow.name, training_checks.Overfitting.name),
    (training_checks.TooLittleCapacity.name, training_checks.Overfitting.name),
)


def diagnose(
    run: str | PathLike[str] | None = None,
    data: str | PathLike[str] | Dataset | None = None,
    *,
    image_size: int | None = None,
    fit: Fit | None = None,
    max_unreadable: float = MAX_UNREADABLE,
    max_pixels: int = MAX_PIXELS,
    progress: Progress | None = None,
) -> DoctorReport:
    """Run every check of ``CHECKS`` on a run, on images before any training, or on a run with other images.

    Nothing is changed or written; ``glassnet.doctor.write_doctor_report`` writes the report as a page.

    :param run: a run folder, of a training that finished, was stopped or failed, or of imported weights.
    :param data: a Dataset or what ``load_data`` takes. Default: the images that the run was trained on.
    :param image_size: height and width of loaded images in pixels. Default: the run's.
    :param fit: how loaded images of another aspect ratio are brought to the size: "crop", "pad" or "squash". Default:
        the run's, otherwise "crop".
    :param max_unreadable: fraction of loaded images that may be unreadable.
    :param max_pixels: largest width · height of a loaded image.
    :param progress: shows the check that runs. Default: silent.
    :returns: findings with their confidence and advice, and the checks that passed or were skipped.
    :raises ConfigError: if neither ``run`` nor ``data`` is given.
    :raises RunError: if the folder is missing, damaged or no run folder.
    :raises DataError: if the images cannot be read or do not fit the run's network.
    """
    if run is None and data is None:
        raise ConfigError("diagnose must have a run, data or both. Got neither.")
    progress = progress or Progress()
    with show_progress(progress):
        context = CheckContext(
            None if run is None else Path(run),
            data,
            image_size=image_size,
            fit=fit,
            max_unreadable=max_unreadable,
            max_pixels=max_pixels,
        )
        outcomes = []
        for number, check in enumerate(CHECKS):
            progress.start(check.name, len(CHECKS), number, unit="checks")
            with np.errstate(all="ignore"):  # a network that diverged computes with infinities, which is a finding
                outcomes.append(_outcome(check, context))
            progress.finish()
    return DoctorReport(str(context.path or _describe(context.dataset)), context, outcomes)


def _describe(data: Dataset) -> str:
    name = Path(str(data.source["source"])).name
    return f"{name} ({len(data.train):,} training and {pluralize(len(data.test), f'{data.test_name} image')})"


def _outcome(check: Check, context: CheckContext) -> CheckOutcome:
    if reason := context.missing_reason(check.requires):
        return CheckOutcome(check, None, reason)
    try:
        result = check.run(context)
        remedies = check.remedies(context, result) if result.confidence else []
    except GlassnetError as error:  # also one such as too small images: the other checks can still run
        return CheckOutcome(check, None, str(error))
    changed = next((remedy.settings for remedy in remedies if remedy.settings), None)
    command = training_command(context.config, changed) if changed and context.has("recipe") else ""
    return CheckOutcome(check, result, remedies=remedies, command=command)
