"""Public functions that join packages: training, reports, live pages and comparisons. No other module imports them."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glassnet import training
from glassnet.engines import ProcessGroup
from glassnet.progress import TerminalProgress, show_progress

if TYPE_CHECKING:
    from glassnet.architecture import ResNetSpec
    from glassnet.classification import Outcome
    from glassnet.data import Dataset
    from glassnet.explorer import Explorer
    from glassnet.reports import Comparison, Report

Source = str | PathLike[str]


def train(
    model: str | ResNetSpec | None,
    data: Source | Dataset,
    engine: str | None = None,
    *,
    report: bool = True,
    **settings: Any,
) -> training.Run:
    """Train a model on data and write a run folder with its report.

    The mean and std that normalize images are measured on all training images, before ``validation_fraction`` holds
    some of them out.

    :param model: the name of a preset, which takes channels, size and classes from the data; a spec, which must agree
        with them; or None for the preset that suits the image size.
    :param data: a Dataset, or a source that ``load_data`` takes.
    :param engine: "numpy" (the default) or "torch".
    :param report: whether to write ``report.html`` into the run folder at the end.
    :param settings: fields of ResNetSpec, Recipe and Compute by name, and the arguments of
        ``glassnet.training.train``: ``run``, ``recipe``, ``init``, ``resume`` and others.
    :returns: the run, with ``path``, ``history`` and ``metrics``.
    :raises ConfigError: if a setting is unknown or out of its range.
    :raises DataError: if the data cannot be used.
    :raises RunError: if the folder is in use, a resumed run has other settings than those that are given, or a number
        is not finite; the folder then holds the last good epoch.
    """
    progress = settings.pop("progress", None) or TerminalProgress()
    run = training.train(model, data, engine, progress=progress, **settings)
    if report and ProcessGroup.from_environment().is_first:
        try:
            with show_progress(progress):
                _write_report(run.path, run.dataset, outcome=run.outcome)
        except KeyboardInterrupt as stop:
            stop.args = (f"The training in {run.path} is finished. Write its report with: glassnet report {run.path}",)
            raise
    return training.Run(run.path, run.history)  # without the data, which takes memory


def report(run: Source, data: Source | Dataset | None = None, output: Source | None = None) -> Report:
    """Write the report of a run: one HTML file that opens offline.

    :param run: a run folder.
    :param data: a Dataset or a source to evaluate the run on; by default the data of its training.
    :param output: the file to write; by default ``report.html`` in the run folder.
    :returns: the report, with its ``path``.
    :raises RunError: if the folder holds no run, or the file cannot be written.
    :raises DataError: if the data has other classes than the run, or cannot be used.
    """
    return _write_report(run, data, output)


def explore(run: Source, data: Source | Dataset | None = None, output: Source | None = None) -> Explorer:
    """Write the live page of a run: one HTML file in which its network computes and learns, offline.

    The file contains images of the data. The page computes in float64; it says where a training in it differs from
    that of the run.

    :param run: a run folder.
    :param data: a Dataset or a source with the images of the page; by default the data of the run's training.
    :param output: the file to write; by default ``explore.html`` in the run folder.
    :returns: the page, with its ``path``.
    :raises ConfigError: if the network has more than a million parameters, or images of more than 64×64 pixels.
    :raises DataError: if the data has other classes than the run, or cannot be used.
    :raises RunError: if the folder holds no run, or the file cannot be written.
    """
    from glassnet.explorer import write_explorer

    model = training.load(run)
    return write_explorer(model, _evaluation_data(model, data), None if output is None else Path(output))


def compare(*runs: Source, data: Source | Dataset | None = None, output: Source | None = None) -> Comparison:
    """Compare runs that were trained on the same data: which is better, by how much, and whether that is significant.

    :param runs: two or more run folders.
    :param data: a Dataset or a source to evaluate the runs on; by default the data of their training.
    :param output: the HTML file to write, if any.
    :returns: the comparison: numbers, tests and a ``summary`` in sentences.
    :raises ConfigError: if there are fewer than two runs.
    :raises DataError: if the runs were trained on different data, or the data cannot be used.
    :raises RunError: if a folder holds no run, or the file cannot be written.
    """
    from glassnet.reports import compare, write_comparison

    models = [training.load(run) for run in runs]
    first = next((model for model in models if model.config["data"]["fingerprint"]), *models[:1])
    comparison = compare(models, _evaluation_data(first, data))
    if output is not None:
        write_comparison(comparison, Path(output))
    return comparison


def _write_report(
    run: Source,
    data: Source | Dataset | None = None,
    output: Source | None = None,
    outcome: Outcome | None = None,
) -> Report:
    from glassnet.reports import write_report

    model = training.load(run)
    return write_report(model, _evaluation_data(model, data), None if output is None else Path(output), outcome)


def _evaluation_data(model: training.Model, data: Source | Dataset | None) -> Dataset | None:
    from glassnet.training.evaluation_data import evaluation_data

    return evaluation_data(model, str(data)) if isinstance(data, str | PathLike) else data
