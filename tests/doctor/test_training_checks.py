"""Checks of made-up histories, with made-up short runs."""

from typing import Any

import pytest

from glassnet.doctor import training_checks
from glassnet.doctor.check import CheckSkippedError
from tests.doctor.conftest import epochs


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

    @pytest.mark.parametrize(("test_accuracy", "found"), [(0.7, "too little capacity"), (0.52, "overfitting")])
    def test_the_test_accuracy_decides_between_capacity_and_overfitting(
        self, make_context: Any, set_short_runs: Any, test_accuracy: float, found: str
    ) -> None:
        set_short_runs({0.1: 1.0}, 0.9, test_accuracy)
        context = make_context(epochs(*[1.3] * 5, train=0.7, test=0.5))
        checks = (self.check, training_checks.Overfitting())
        assert [check.name for check in checks if check.finds(context)] == [found]

    def test_remedies_have_the_width_of_the_experiment(self, make_context: Any, set_short_runs: Any) -> None:
        set_short_runs({0.1: 1.0}, 0.9)
        for skip, blocks in ((True, ["or one with another block in each stage: --blocks 2"]), (False, [])):
            context = make_context(epochs(*[1.3] * 5, train=0.5), spec__skip=skip)
            steps = [str(remedy) for remedy in self.check.remedies(context, self.check.run(context))]
            ends = ["then train for more epochs: --epochs 6"]
            assert steps == ["train a network with more channels: --width 32", *blocks, *ends]


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

    def test_is_skipped_if_a_larger_rate_is_better(self, make_context: Any, set_short_runs: Any) -> None:
        set_short_runs({0.1: 2.2, 1.0: 0.8})
        with pytest.raises(CheckSkippedError, match=r"^at this learning rate the training is not finished"):
            self.check.run(make_context(epochs(1.9, train=0.9, test=0.5)))

    def test_remedies_are_stronger_than_what_the_run_has(self, make_context: Any) -> None:
        def steps(**changes: Any) -> list[str]:
            context = make_context(epochs(0.1, train=1.0, test=0.7), **changes)
            return [str(remedy) for remedy in self.check.remedies(context, self.check.run(context))]

        assert steps() == [
            "collect more images",
            "regularize more: --dropout 0.3",  # the recipe of tiny has more decay and smoothing than that
            "if a mirrored image still belongs to its class, augment the images: --augment flip-crop",
            "stop at the epoch that validation selects: --validation-fraction 0.1",
        ]
        plain = {"recipe__weight_decay": 0.0, "recipe__label_smoothing": 0.0}
        assert steps(**plain)[1] == "regularize more: --weight-decay 0.0005 --label-smoothing 0.1 --dropout 0.3"
        everything = {"spec__dropout": 0.5, "recipe__augment": "flip-crop", "recipe__validation_fraction": 0.2}
        assert steps(**everything) == ["collect more images"]

    def test_is_skipped_where_test_images_were_trained_on(self, make_context: Any) -> None:
        record = {"loss": 0.1, "train_accuracy": 1.0, "test_accuracy": None, "contaminated": 3}
        with pytest.raises(CheckSkippedError, match="^the last epoch has no test accuracy: test images were trai"):
            self.check.run(make_context([record]))

    def test_remedies_hold_no_images_out_of_data_with_validation_images(self, make_context: Any) -> None:
        context = make_context(epochs(0.1, train=1.0, test=0.7), data__validation=10)
        assert "validation" not in str(self.check.remedies(context, self.check.run(context)))

    def test_is_skipped_without_accuracies(self, make_context: Any) -> None:
        with pytest.raises(CheckSkippedError, match=r"^the last epoch has no accuracies$"):
            self.check.run(make_context([{"loss": 1.0}]))
