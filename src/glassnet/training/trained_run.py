"""The result of ``train``: a run folder and its records."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from glassnet.classification import Outcome
from glassnet.data import Dataset
from glassnet.formats import format_loss
from glassnet.training.log_line import describe_accuracy, name_test_set
from glassnet.training.run_files import Record, validation_rank
from glassnet.training.run_folder import RunFolder


@dataclass(frozen=True, repr=False)
class Run:
    """A training's run folder and its records, one for each epoch.

    A record has ``epoch`` (from 1), ``loss`` and ``train_accuracy`` (means over the images of the epoch, each before
    the step that uses it), ``test_loss`` and ``test_accuracy``, ``contaminated``, ``lr`` (of the last step),
    ``gradient_norms`` (the L2 norm of each parameter's gradient at the last step) and ``seconds`` (of steps and
    evaluations). Further keys are ``validation_loss`` and ``validation_accuracy`` with a validation split,
    ``train_evaluated_loss`` and ``train_evaluated_accuracy`` with ``evaluate_train``, and ``epochs_since_best`` with
    ``patience``: the training stopped early where that is reached. Accuracies are fractions, losses mean
    cross-entropies. With ``ema`` all evaluations are of the averaged weights.

    ``contaminated`` is the number of test images that this run, or one that its initial weights come from, was trained
    on. With any there is no test accuracy: ``test_loss`` and ``test_accuracy`` are None, and ``evaluated_loss`` and
    ``evaluated_accuracy`` are those of all test images.
    """

    path: Path
    history: list[Record]
    dataset: Dataset | None = field(default=None, compare=False)  # for the report, which need not load it again
    outcome: Outcome | None = field(default=None, compare=False)  # on its test images; None where it is to be computed

    @property
    def metrics(self) -> Record:
        """The record of the last epoch."""
        return self.history[-1]

    @property
    def summary(self) -> str:
        """The result of the weights that ``glassnet.load`` takes: ``Test accuracy 97.6%, loss 0.0823, after epoch 10``.

        It is that of the last epoch, or of the one that validation chose.
        """
        has_validation = "validation_accuracy" in self.metrics
        record = max(self.history, key=validation_rank) if has_validation else self.metrics
        accuracy = describe_accuracy(record, RunFolder(self.path).read_config()["data"]["test_name"])
        loss = format_loss(record[f"{name_test_set(record)}_loss"])
        chosen = ", which validation chose" if has_validation else ""
        return f"{accuracy[0].upper()}{accuracy[1:]}, loss {loss}, after epoch {record['epoch']}{chosen}"

    def __repr__(self) -> str:
        config = RunFolder(self.path).read_config()
        accuracy = describe_accuracy(self.metrics, config["data"]["test_name"])
        return f"Run({str(self.path)!r}, epoch {len(self.history)} of {config['recipe']['epochs']}, {accuracy})"
