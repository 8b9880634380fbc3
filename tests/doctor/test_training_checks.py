"""Checks of made-up histories, with made-up short runs."""

import math
from typing import Any

import pytest

from glassnet.doctor import training_checks
from glassnet.doctor.check import CheckSkippedError
from glassnet.doctor.context import CheckContext
from glassnet.doctor.short_runs import ShortRun

History = list[dict[str, Any]]


def epochs(*losses: float, train: float = 0.5, test: float = 0.5) -> History:
    return [{"loss": loss, "train_accuracy": train, "test_accuracy": test} for loss in losses]


@pytest.fixture
def set_short_runs(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that sets the loss of short runs by learning rate (of two digits), and returns the rates tried."""

    def set_short_runs(losses: dict[float, float], accuracy: float = 0.5) -> list[float]:
        tried: list[float] = []

        def run_short_training(context: CheckContext, steps: int, max_seconds: float, **changes: Any) -> ShortRun:
            lr = float(f"{changes.get('lr') or context.recipe.lr:.2g}")
            tried.append(lr)
            return ShortRun((losses.get(lr, math.inf),) * steps, accuracy)

        monkeypatch.setattr(training_checks, "run_short_training", run_short_training)
        return tried

    return set_short_runs


FAILURE = {"epoch": 1, "name": "loss", "value": "nan", "lr": 0.1}


class TestLearningRateTooHigh:
    check = training_checks.LearningRateTooHigh()

    @pytest.mark.parametrize(
        "losses", [(2.2, 1.5, 0.7), (2.2, 1.5, 1.6, 1.2, 1.0), (2.0,), (0.52, 0.51, 0.53, 0.51, 0.53)]
    )
    def test_passes_without_short_runs_if_the_loss_falls(
        self, make_context: Any, set_short_runs: Any, losses: Any
    ) -> None:
        tried = set_short_runs({})
        assert self.check.run(make_context(epochs(*losses))).confidence is None
        assert tried == []

    @pytest.mark.parametrize(
        ("losses", "message"),
        [
            ((2.5, 3.5, 2.3), "At lr 0.1 the loss was 1.5 times the chance level."),
            ((2.0, 1.0, 1.4, 1.0, 1.5, 1.1), "At lr 0.1 the loss rose in 2 of 5 epochs."),
            ((2.3, 2.3, 2.29), "At lr 0.1 the loss is still 99% of the chance level."),
        ],
    )
    def test_finds_a_smaller_rate_that_is_better(
        self, make_context: Any, set_short_runs: Any, losses: Any, message: str
    ) -> None:
        tried = set_short_runs({0.1: 2.3, 0.033: 2.2, 0.01: 0.8})
        result = self.check.run(make_context(epochs(*losses), recipe__label_smoothing=0.0))
        assert result.confidence == "high"
        assert result.message == f"{message} The same first steps reach loss 2.3 at lr 0.1, 0.8 at lr 0.01."
        assert result.value == pytest.approx(0.8 / 2.3)
        assert tried == [0.1, 0.033, 0.01]  # and no smaller ones

    def test_tries_smaller_rates_until_one_is_clearly_better(self, make_context: Any, set_short_runs: Any) -> None:
        tried = set_short_runs({0.1: 2.0, 0.033: 1.8, 0.01: 0.8})
        result = self.check.run(make_context(epochs(2.0, 1.0, 1.4, 1.0, 1.5, 1.1)))
        assert (result.value, tried) == (0.4, [0.1, 0.033, 0.01])

    def test_passes_if_no_rate_is_better(self, make_context: Any, set_short_runs: Any) -> None:
        set_short_runs(dict.fromkeys((0.1, 0.033, 0.01, 0.001, 1e-4, 1e-5), 2.3))
        result = self.check.run(make_context(epochs(2.3, 2.3)))
        assert (result.confidence, result.value) == (None, 1.0)
        assert result.measured.endswith("in short runs loss 2.3 at lr 0.1, not less at any other")

    @pytest.mark.parametrize(("loss", "confidence"), [(0.8, "high"), (math.inf, "medium")])
    def test_finds_a_failed_training(
        self, make_context: Any, set_short_runs: Any, loss: float, confidence: str
    ) -> None:
        set_short_runs({0.033: loss})
        result = self.check.run(make_context([], FAILURE))
        assert result.confidence == confidence
        assert result.message.startswith(
            "At lr 0.1 the loss became nan in epoch 1. The same first steps reach loss not"
        )

    def test_judges_by_the_history_without_images(self, make_context: Any) -> None:
        assert self.check.run(make_context([], FAILURE, data__source="arrays")).confidence == "high"
        assert self.check.run(make_context(epochs(2.4, 3.5), data__source="arrays")).confidence == "medium"

    def test_judges_a_failed_training_with_few_steps(self, make_context: Any) -> None:
        result = self.check.run(make_context([], FAILURE, recipe__batch_size=400))
        assert result.confidence == "high"
        assert result.measured.endswith("no short runs: the run has 1 step, too few to compare learning rates")

    def test_is_skipped_with_few_steps(self, make_context: Any) -> None:
        with pytest.raises(CheckSkippedError, match=r"^the run has 1 step, too few to compare learning rates$"):
            self.check.run(make_context(epochs(2.4), recipe__batch_size=400))

    def test_is_skipped_without_a_finished_epoch(self, make_context: Any) -> None:
        with pytest.raises(CheckSkippedError, match=r"^the run has no finished epoch$"):
            self.check.run(make_context([]))


class TestLearningRateTooLow:
    check = training_checks.LearningRateTooLow()

    def test_passes_without_short_runs_if_the_loss_fell(self, make_context: Any, set_short_runs: Any) -> None:
        tried = set_short_runs({})
        assert self.check.run(make_context(epochs(1.0))).confidence is None
        assert tried == []

    def test_finds_a_larger_rate_that_is_better(self, make_context: Any, set_short_runs: Any) -> None:
        tried = set_short_runs({1e-6: 2.35, 1e-5: 2.34, 1e-4: 2.33, 1e-3: 2.2, 1e-2: 0.6})
        result = self.check.run(make_context(epochs(2.35), recipe__lr=1e-6))
        assert result.confidence == "high"
        assert tried == [1e-6, 1e-5, 1e-4, 1e-3, 1e-2]

    def test_passes_if_no_larger_rate_is_better(self, make_context: Any, set_short_runs: Any) -> None:
        set_short_runs({0.1: 1.9, 1.0: 1.8, 10.0: 2.3})
        assert self.check.run(make_context(epochs(1.9))).confidence is None

    def test_is_skipped_with_few_steps(self, make_context: Any) -> None:
        with pytest.raises(CheckSkippedError, match=r"^the run has 1 step, too few to compare learning rates$"):
            self.check.run(make_context(epochs(2.3), recipe__batch_size=400))

    def test_is_skipped_after_a_failure(self, make_context: Any) -> None:
        with pytest.raises(CheckSkippedError, match=r"^the training failed$"):
            self.check.run(make_context(epochs(2.2), {**FAILURE, "epoch": 2}))


class TestTooLittleCapacity:
    check = training_checks.TooLittleCapacity()

    def test_passes_without_a_short_run_at_high_accuracy(self, make_context: Any, set_short_runs: Any) -> None:
        tried = set_short_runs({})
        assert self.check.run(make_context(epochs(0.5, train=0.9))).confidence is None
        assert tried == []

    @pytest.mark.parametrize(("accuracy", "confidence"), [(0.7, "high"), (0.65, None)])
    def test_compares_with_a_wider_network(
        self, make_context: Any, set_short_runs: Any, accuracy: float, confidence: str | None
    ) -> None:
        set_short_runs({0.1: 1.0}, accuracy)
        result = self.check.run(make_context(epochs(*[1.3] * 5, train=0.5)))
        assert result.confidence == confidence
        assert result.message == (
            f"The network reaches training accuracy 50.0% at width 8, {accuracy:.1%} at width 32 after 65 steps."
        )

    @pytest.mark.parametrize(
        ("losses", "reason"),
        [
            ((2.3,) * 5, "the network learned nothing, which a lack of capacity does not explain"),
            ((1.3,), "the run has 13 steps, too few to judge its capacity"),
        ],
    )
    def test_is_skipped(self, make_context: Any, losses: Any, reason: str) -> None:
        with pytest.raises(CheckSkippedError, match=f"^{reason}$"):
            self.check.run(make_context(epochs(*losses, train=0.3)))


class TestOverfitting:
    check = training_checks.Overfitting()

    @pytest.mark.parametrize(
        ("train", "test", "confidence"),
        [(0.99, 0.95, None), (0.95, 0.96, None), (0.99, 0.87, "medium"), (1.0, 0.7, "high")],
    )
    def test_grades_the_gap(self, make_context: Any, train: float, test: float, confidence: str | None) -> None:
        assert self.check.run(make_context(epochs(0.1, train=train, test=test))).confidence == confidence

    def test_passes_if_the_gap_is_within_the_confidence_interval(self, make_context: Any) -> None:
        context = make_context(epochs(0.1, train=0.9, test=0.75), data__train=20, data__test=20)
        assert self.check.run(context).confidence is None

    def test_is_skipped_without_accuracies(self, make_context: Any) -> None:
        with pytest.raises(CheckSkippedError, match=r"^the last epoch has no accuracies$"):
            self.check.run(make_context([{"loss": 1.0}]))
