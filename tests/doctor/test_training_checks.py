"""Made-up histories, and made-up trials beside them."""

import math
from typing import Any

import pytest

from glassnet.doctor import training_checks
from glassnet.doctor.context import Evidence
from glassnet.doctor.short_runs import Trial

Epochs = list[dict[str, Any]]


def epochs(*losses: float, train: float = 0.5, test: float = 0.5) -> Epochs:
    return [{"loss": loss, "train_accuracy": train, "test_accuracy": test} for loss in losses]


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Short trainings that end as they are told to: a loss by learning rate, rounded to two digits."""

    def told(losses: dict[float, float], accuracy: float = 0.5) -> list[float]:
        asked: list[float] = []

        def try_training(evidence: Evidence, steps: int, seconds: float, **given: Any) -> Trial:
            lr = float(f"{given.get('lr') or evidence.recipe.lr:.2g}")
            asked.append(lr)
            return Trial((losses.get(lr, math.inf),) * steps, accuracy)

        monkeypatch.setattr(training_checks, "try_training", try_training)
        return asked

    return told


class TestRateTooHigh:
    @pytest.mark.parametrize(
        "losses", [(2.2, 1.5, 0.7), (2.2, 1.5, 1.6, 1.2, 1.0), (2.0,), (0.52, 0.51, 0.53, 0.51, 0.53)]
    )
    def test_a_loss_that_falls_is_not_tried(self, retold: Any, trials: Any, losses: Any) -> None:
        asked = trials({})
        assert training_checks.RateTooHigh().read(retold(epochs(*losses))).sure is None
        assert asked == []

    @pytest.mark.parametrize(
        ("losses", "says"),
        [
            ((2.5, 3.5, 2.3), "At lr 0.1 the loss stood at 1.5 times what guessing gives."),
            ((2.0, 1.0, 1.4, 1.0, 1.5, 1.1), "At lr 0.1 the loss rose in 2 of 5 epochs."),
            ((2.3, 2.3, 2.29), "At lr 0.1 the loss is still 99% of what guessing gives."),
        ],
    )
    def test_trouble_and_a_smaller_rate_that_is_better(self, retold: Any, trials: Any, losses: Any, says: str) -> None:
        asked = trials({0.1: 2.3, 0.033: 2.2, 0.01: 0.8})
        reading = training_checks.RateTooHigh().read(retold(epochs(*losses), recipe__label_smoothing=0.0))
        assert reading.sure == "high"
        assert reading.says == f"{says} The same first steps reach loss 2.3 at lr 0.1, 0.8 at lr 0.01."
        assert asked == [0.1, 0.033, 0.01]  # and no further

    def test_trouble_that_no_rate_mends(self, retold: Any, trials: Any) -> None:
        trials(dict.fromkeys((0.1, 0.033, 0.01, 0.001, 1e-4, 1e-5), 2.3))
        reading = training_checks.RateTooHigh().read(retold(epochs(2.3, 2.3)))
        assert reading.sure is None
        assert reading.measured.endswith("in a short trial loss 2.3 at lr 0.1, not less at any other")

    @pytest.mark.parametrize(("better", "sure"), [(0.8, "high"), (math.inf, "medium")])
    def test_a_training_that_failed(self, retold: Any, trials: Any, better: float, sure: str) -> None:
        trials({0.033: better})
        failure = {"epoch": 1, "name": "loss", "value": "nan", "lr": 0.1}
        reading = training_checks.RateTooHigh().read(retold([], failure))
        assert reading.sure == sure
        assert reading.says.startswith("At lr 0.1 the loss became nan in epoch 1. The same first steps reach loss not")

    def test_without_images(self, retold: Any) -> None:
        failure = {"epoch": 1, "name": "loss", "value": "nan", "lr": 0.1}
        assert training_checks.RateTooHigh().read(retold([], failure, data__source="arrays")).sure == "high"
        assert training_checks.RateTooHigh().read(retold(epochs(2.4, 3.5), data__source="arrays")).sure == "medium"

    def test_too_few_steps_to_try(self, retold: Any) -> None:
        told = training_checks.RateTooHigh().read(retold(epochs(2.4), recipe__batch_size=400))
        assert told == "1 steps are too few to compare learning rates"

    def test_a_run_that_did_not_begin(self, retold: Any) -> None:
        assert training_checks.RateTooHigh().read(retold([])) == "no epoch of the run was finished"


class TestRateTooLow:
    def test_a_loss_that_fell(self, retold: Any, trials: Any) -> None:
        asked = trials({})
        assert training_checks.RateTooLow().read(retold(epochs(1.0))).sure is None
        assert asked == []

    def test_a_larger_rate_that_is_better(self, retold: Any, trials: Any) -> None:
        asked = trials({1e-6: 2.35, 1e-5: 2.34, 1e-4: 2.33, 1e-3: 2.2, 1e-2: 0.6})
        reading = training_checks.RateTooLow().read(retold(epochs(2.35), recipe__lr=1e-6))
        assert reading.sure == "high"
        assert asked == [1e-6, 1e-5, 1e-4, 1e-3, 1e-2]

    def test_no_larger_rate_is_better(self, retold: Any, trials: Any) -> None:
        trials({0.1: 1.9, 1.0: 1.8, 10.0: 2.3})
        assert training_checks.RateTooLow().read(retold(epochs(1.9))).sure is None

    def test_too_few_steps(self, retold: Any) -> None:
        told = training_checks.RateTooLow().read(retold(epochs(2.3), recipe__batch_size=400))
        assert told == "1 steps are too few to compare learning rates"

    def test_after_a_failure(self, retold: Any) -> None:
        failure = {"epoch": 2, "name": "loss", "value": "nan", "lr": 0.1}
        assert training_checks.RateTooLow().read(retold(epochs(2.2), failure)) == "the training failed"


class TestCapacity:
    def test_a_training_accuracy_that_is_high(self, retold: Any, trials: Any) -> None:
        asked = trials({})
        assert training_checks.LowCapacity().read(retold(epochs(0.5, train=0.9))).sure is None
        assert asked == []

    @pytest.mark.parametrize(("accuracy", "sure"), [(0.7, "high"), (0.65, None)])
    def test_a_wider_network(self, retold: Any, trials: Any, accuracy: float, sure: str | None) -> None:
        trials({0.1: 1.0}, accuracy)
        reading = training_checks.LowCapacity().read(retold(epochs(*[1.3] * 5, train=0.5)))
        assert reading.sure == sure
        assert reading.says == f"Training accuracy is 50.0% at width 8, and {accuracy:.1%} at width 32 in 65 steps."

    @pytest.mark.parametrize(
        ("losses", "told"),
        [
            ((2.3,) * 5, "it learned nothing, which no lack of capacity explains"),
            ((1.3,), "13 steps are too few to use up a network's capacity"),
        ],
    )
    def test_what_it_does_not_judge(self, retold: Any, losses: Any, told: str) -> None:
        assert training_checks.LowCapacity().read(retold(epochs(*losses, train=0.3))) == told


class TestOverfitting:
    @pytest.mark.parametrize(
        ("train", "test", "sure"), [(0.99, 0.95, None), (0.95, 0.96, None), (0.99, 0.87, "medium"), (1.0, 0.7, "high")]
    )
    def test_the_gap(self, retold: Any, train: float, test: float, sure: str | None) -> None:
        assert training_checks.Overfitting().read(retold(epochs(0.1, train=train, test=test))).sure == sure

    def test_a_gap_that_chance_explains(self, retold: Any) -> None:
        evidence = retold(epochs(0.1, train=0.9, test=0.75), data__train=20, data__test=20)
        assert training_checks.Overfitting().read(evidence).sure is None

    def test_a_record_without_accuracies(self, retold: Any) -> None:
        assert training_checks.Overfitting().read(retold([{"loss": 1.0}])) == "the last epoch has no accuracies"
