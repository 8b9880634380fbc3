"""Checks of made-up histories, with made-up short runs."""

import math
from typing import Any

import pytest

from glassnet.doctor import learning_rate_checks
from glassnet.doctor.check import CheckSkippedError
from tests.doctor.conftest import epochs


def test_try_learning_rates_counts_a_larger_rate_only_if_the_network_learns(
    make_context: Any, set_short_runs: Any
) -> None:
    """Steps that are far too large can silence the ReLUs, and the loss falls to the chance level."""
    silenced = dict.fromkeys((1.0, 10.0, 100.0, 1e3, 1e4), 2.3)
    tried = set_short_runs(dict.fromkeys((0.1, 0.033, 0.01, 0.001, 1e-4, 1e-5), 5.0) | silenced)
    trial = learning_rate_checks.try_learning_rates(make_context(epochs(5.0, 5.0, 5.0)))
    assert 1.0 in tried
    assert (trial.best_lr, trial.ratio) == (0.1, 1.0)


FAILURE = {"epoch": 1, "name": "loss", "value": "nan", "lr": 0.1}


class TestLearningRateTooHigh:
    check = learning_rate_checks.LearningRateTooHigh()

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
        assert result.message == f"{message} The same first steps reach training loss 2.3 at lr 0.1, 0.8 at lr 0.01."
        assert result.value == pytest.approx(0.8 / 2.3)
        assert [lr for lr in tried if lr <= 0.1] == [0.1, 0.033, 0.01]  # and no smaller ones

    def test_tries_smaller_rates_until_one_is_clearly_better(self, make_context: Any, set_short_runs: Any) -> None:
        tried = set_short_runs({0.1: 2.0, 0.033: 1.8, 0.01: 0.8})
        result = self.check.run(make_context(epochs(2.0, 1.0, 1.4, 1.0, 1.5, 1.1)))
        assert (result.value, tried) == (0.4, [0.1, 0.033, 0.01])

    def test_passes_if_no_rate_is_better(self, make_context: Any, set_short_runs: Any) -> None:
        set_short_runs(dict.fromkeys((0.1, 0.033, 0.01, 0.001, 1e-4, 1e-5), 2.3))
        result = self.check.run(make_context(epochs(2.3, 2.3)))
        assert (result.confidence, result.value) == (None, 1.0)
        assert result.measured.endswith("in short runs training loss 2.3 at lr 0.1, no other is better")

    @pytest.mark.parametrize(("loss", "confidence"), [(0.8, "high"), (math.inf, "medium")])
    def test_finds_a_failed_training(
        self, make_context: Any, set_short_runs: Any, loss: float, confidence: str
    ) -> None:
        set_short_runs({0.033: loss})
        result = self.check.run(make_context([], FAILURE))
        assert result.confidence == confidence
        assert result.message.startswith(
            "At lr 0.1 the loss became nan in epoch 1. The same first steps reach training loss not"
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
    check = learning_rate_checks.LearningRateTooLow()

    def test_passes_without_short_runs_if_the_loss_fell(self, make_context: Any, set_short_runs: Any) -> None:
        tried = set_short_runs({})
        assert self.check.run(make_context(epochs(1.0))).confidence is None
        assert tried == []

    def test_finds_a_larger_rate_that_is_better(self, make_context: Any, set_short_runs: Any) -> None:
        tried = set_short_runs({1e-6: 2.35, 1e-5: 2.34, 1e-4: 2.33, 1e-3: 2.2, 1e-2: 0.6})
        result = self.check.run(make_context(epochs(2.35), recipe__lr=1e-6))
        assert result.confidence == "high"
        assert [lr for lr in tried if lr >= 1e-6] == [1e-6, 1e-5, 1e-4, 1e-3, 1e-2]  # and no larger ones

    def test_passes_if_no_larger_rate_is_better(self, make_context: Any, set_short_runs: Any) -> None:
        set_short_runs({0.1: 1.9, 1.0: 1.8, 10.0: 2.3})
        assert self.check.run(make_context(epochs(1.9))).confidence is None

    def test_is_skipped_with_few_steps(self, make_context: Any) -> None:
        with pytest.raises(CheckSkippedError, match=r"^the run has 1 step, too few to compare learning rates$"):
            self.check.run(make_context(epochs(2.3), recipe__batch_size=400))

    def test_is_skipped_after_a_failure(self, make_context: Any) -> None:
        with pytest.raises(CheckSkippedError, match=r"^the training failed$"):
            self.check.run(make_context(epochs(2.2), {**FAILURE, "epoch": 2}))


class TestBothSymptoms:
    """A loss that jumped and ends above the chance level, as with a too high rate and with a too low one."""

    @pytest.mark.parametrize(
        ("losses", "found"),
        [
            (
                {0.1: 5.0, 0.033: 4.0, 0.01: 1.6, 1.0: 2.9},
                "too high",
            ),  # 2.9 is less than 5.0, but the network learns not
            ({0.1: 5.0, 0.033: 4.0, 0.01: 1.6, 1.0: 1.2}, "too low"),  # the better of two
            ({0.1: 5.0, 0.033: 2.9, 0.01: 2.9, 1.0: 1.2}, "too low"),
            ({0.1: 2.3, 0.033: 2.3, 0.01: 2.2, 1.0: 2.3}, ""),
        ],
    )
    def test_the_better_rate_decides(
        self, make_context: Any, set_short_runs: Any, losses: dict[float, float], found: str
    ) -> None:
        tried = set_short_runs(losses)
        context = make_context(epochs(2.3, 9.0, 2.4))
        checks = (learning_rate_checks.LearningRateTooHigh(), learning_rate_checks.LearningRateTooLow())
        names = [check.name for check in checks if check.finds(context)]
        assert names == ([f"learning rate {found}"] if found else [])
        assert len(tried) == len(set(tried))  # both checks read the same short runs

    def test_the_remedy_is_the_better_rate(self, make_context: Any, set_short_runs: Any) -> None:
        set_short_runs({0.1: 5.0, 0.033: 4.0, 0.01: 1.6, 1.0: 2.9})
        context, check = make_context(epochs(2.3, 9.0, 2.4)), learning_rate_checks.LearningRateTooHigh()
        result = check.run(context)
        assert result.measured == (
            "the loss was 4.7 times the chance level; in short runs training loss 5 at lr 0.1, 1.6 at lr 0.01"
        )
        assert [str(remedy) for remedy in check.remedies(context, result)] == [
            "train again with a smaller learning rate: --lr 0.01",
            "then scale large gradients down: --clip-grad-norm 1",
            f"see the whole range of rates: glassnet study lr-range --run {context.path}",
        ]


def test_remedies_leave_out_what_the_run_has(make_context: Any, set_short_runs: Any) -> None:
    set_short_runs({0.1: 5.0, 0.033: 1.2})
    changes = {"recipe__clip_grad_norm": 1.0, "recipe__schedule": "constant"}
    context, check = make_context(epochs(2.3, 9.0), **changes), learning_rate_checks.LearningRateTooHigh()
    steps = [str(remedy) for remedy in check.remedies(context, check.run(context))]
    assert steps[:2] == [
        "train again with a smaller learning rate: --lr 0.033",
        "then begin with small steps: --schedule one-cycle",
    ]


def test_remedies_keep_a_warmup(make_context: Any, set_short_runs: Any) -> None:
    set_short_runs({0.1: 5.0, 0.033: 1.2})
    changes = {"recipe__warmup": 1.0, "recipe__schedule": "cosine"}
    context, check = make_context(epochs(2.3, 9.0), **changes), learning_rate_checks.LearningRateTooHigh()
    assert not any("schedule" in remedy.settings for remedy in check.remedies(context, check.run(context)))
