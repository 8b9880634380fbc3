import re
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest

import glassnet as gn
from glassnet.errors import ConfigError
from glassnet.measures.seed_stats import paired_difference
from glassnet.studies import sweep
from glassnet.studies.sweep import SweepStudy
from tests.studies.sweep.made_up import diverged_study, grid_study, made_up


def test_effects_are_means_over_the_other_fields_paired_by_seed() -> None:
    blocks, norm = grid_study().effects
    assert (norm.field, norm.first, norm.second) == ("norm", "none", "batch")
    expected = paired_difference([0.805, 0.815, 0.8075], [0.905, 0.916, 0.911])
    assert astuple(norm.difference)[:3] == pytest.approx(astuple(expected)[:3])
    assert norm.difference.p_value == pytest.approx(2 * (expected.p_value or 0))  # Holm: the smaller of two
    assert norm.is_significant
    assert not blocks.is_significant


def test_effects_compare_every_two_of_three_values() -> None:
    study = made_up({(value,): (value, value + 0.01) for value in (0.1, 0.2, 0.3)}, dropout=(0.1, 0.2, 0.3))
    assert [(effect.first, effect.second) for effect in study.effects] == [(0.1, 0.2), (0.1, 0.3), (0.2, 0.3)]


def test_effects_leave_out_diverged_settings() -> None:
    study = diverged_study()
    blocks, lr = study.effects
    assert blocks.difference.mean == pytest.approx(0.095)  # of the complete pair
    assert lr.difference.mean == pytest.approx(0.71)
    assert study.ranked[-1].name == "blocks=1, lr=9"
    assert study.to_dict()["effects"][1]["difference"]["mean"] == lr.difference.mean


def test_summary_has_numbers_intervals_and_tests() -> None:
    best, second, blocks, norm, evaluation = grid_study().summary
    assert best == (
        "The best of 4 settings of tiny on digits is “blocks=1, norm=batch”: validation accuracy 91.1% ± 1.0% over "
        "3 seeds."
    )
    assert second.startswith("The second best is “blocks=2, norm=batch”, 0.0 percentage points lower (95% interval ")
    assert second.endswith("The best is significantly better than 2 of 3 others.")
    assert re.fullmatch(
        r"blocks=1 has 0.1 percentage points higher accuracy than blocks=2, averaged over the other settings \(95% "
        r"interval −\d.\d to \d.\d; not significant, paired t-test with Holm's correction, p = 0.\d+\).",
        blocks,
    )
    assert norm.startswith("norm=batch has 10.1 percentage points higher accuracy than norm=none, averaged over the")
    assert "; significant, paired t-test with Holm's correction, p = 0.00" in norm
    assert evaluation.startswith("Accuracies are those of 269 validation images, which no run trains on")


def test_summary_interval_ends_at_a_hundred_points() -> None:
    _, second, norm, _ = made_up({("none",): (0.9, 0.1), ("batch",): (0.1, 0.2)}, norm=("none", "batch")).summary
    assert "(95% interval −100.0 to 100.0; not significant" in second
    assert "(95% interval −100.0 to 100.0; not significant" in norm


def test_summary_of_the_opposite_numbers() -> None:
    study = made_up({("none",): (0.9, 0.91, 0.92), ("batch",): (0.8, 0.81, 0.815)}, norm=("none", "batch"))
    _, second, norm, _ = study.summary
    assert second.endswith("The best is significantly better than 1 of 1 other.")
    assert norm.startswith("norm=none has 10.2 percentage points higher accuracy than norm=batch")


def test_summary_of_equal_values() -> None:
    study = made_up({(1,): (0.9, 0.8), (2,): (0.9, 0.8)}, blocks=(1, 2))
    assert study.summary[2] == "All values of blocks have the same mean accuracy."


def test_summary_of_one_seed_tests_nothing() -> None:
    study = made_up({(1,): (0.9,), (2,): (0.8,)}, blocks=(1, 2))
    best, second, blocks, _ = study.summary
    assert best.endswith("validation accuracy 90.0% over 1 seed.")
    assert second == "The second best is “blocks=2”, 10.0 percentage points lower (one seed, not tested)."
    assert blocks == (
        "blocks=1 has 10.0 percentage points higher accuracy than blocks=2, averaged over the other settings (one "
        "seed, not tested)."
    )
    assert study.effects[0].difference.p_value is None


def test_summary_lists_diverged_settings() -> None:
    assert "Training diverged in 1 setting, left out of all means: “blocks=1, lr=9”." in diverged_study().summary
    study = made_up({(1.0,): (None,), (2.0,): (None,)}, lr=(1.0, 2.0))
    assert study.summary[0] == "Training diverged in 2 settings, left out of all means: “lr=1”, “lr=2”."
    assert study.effects == []


def run_study(data: gn.Dataset, folder: Path, param_grid: sweep.ParamGrid, **changes: object) -> SweepStudy:
    options = {"model": "tiny", "seeds": 2, "epochs": 1, "width": 2}
    return sweep.run_study(data, param_grid, folder=folder, **{**options, **changes})


@pytest.fixture(scope="module")
def measured(digits: gn.Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[SweepStudy, Path]:
    folder = tmp_path_factory.mktemp("sweep")
    return run_study(digits, folder, {"blocks": [1, 2], "dropout": [0, 0.3]}), folder


def test_run_study_trains_every_combination_with_every_seed(measured: tuple[SweepStudy, Path]) -> None:
    study, folder = measured
    common = "epochs=1,validation_fraction=0.2"
    assert {path.name for path in folder.iterdir()} == {
        f"tiny,width=2,{changed}{common},seed={seed}"
        for changed in ("", "blocks=2,", "dropout=0.3,", "blocks=2,dropout=0.3,")
        for seed in (0, 1)
    }
    assert [setting.name for setting in study.settings][:2] == ["blocks=1, dropout=0", "blocks=1, dropout=0.3"]
    assert study.images == 40


def test_accuracy_is_the_last_epochs_validation_accuracy(measured: tuple[SweepStudy, Path]) -> None:
    study, folder = measured
    run = gn.load(folder / "tiny,width=2,blocks=2,epochs=1,validation_fraction=0.2,seed=1")
    assert study.settings[2].accuracy[1] == run.history[-1]["validation_accuracy"]
    assert study.settings[2].parameters == run.network.parameter_count


def test_run_study_of_a_larger_grid_trains_only_new_runs(
    measured: tuple[SweepStudy, Path], digits: gn.Dataset, snapshot: Callable[[Path], dict[str, object]]
) -> None:
    study, folder = measured
    before = snapshot(folder)
    larger = run_study(digits, folder, {"dropout": [0, 0.3], "blocks": [1, 2], "norm": ["none", "batch"]}, seeds=1)
    after = snapshot(folder)
    assert {name: after[name] for name in before} == before
    assert len(list(folder.iterdir())) == 12
    same = next(setting for setting in larger.settings if setting.name == "dropout=0, blocks=2, norm=none")
    assert same.accuracy[0] == study.settings[2].accuracy[0]


def test_run_study_takes_the_validation_images_of_the_data(digits: gn.Dataset, tmp_path: Path) -> None:
    validation = digits.test.take(np.arange(30))
    data = gn.Dataset.from_splits(digits.train, digits.test, digits.classes, scale=16, validation=validation)
    study = run_study(data, tmp_path, {}, seeds=1)
    assert (study.split, study.images) == ("validation", 30)
    (run,) = tmp_path.iterdir()
    assert study.settings[0].accuracy == (gn.load(run).history[-1]["validation_accuracy"],)


def test_run_study_calls_no_accuracy_on_training_images_a_test_accuracy(digits: gn.Dataset, tmp_path: Path) -> None:
    data = gn.Dataset.from_splits(digits.train, digits.train.take(np.arange(50)), digits.classes, scale=16)
    study = run_study(data, tmp_path, {}, validation_fraction=0.0, seeds=1)
    (run,) = tmp_path.iterdir()
    assert study.settings[0].accuracy == (gn.load(run).history[-1]["evaluated_accuracy"],)
    assert study.split == "evaluated"
    assert "evaluated accuracy" in study.summary[0]


def test_run_study_without_validation_uses_the_test_images(digits: gn.Dataset, tmp_path: Path) -> None:
    study = run_study(digits, tmp_path, {}, validation_fraction=0.0, seeds=1)
    assert (study.split, study.images) == ("test", 450)
    (run,) = tmp_path.iterdir()
    assert study.settings[0].accuracy == (gn.load(run).history[-1]["test_accuracy"],)
    assert study.summary[-1].endswith("A setting selected by them must be tested on other images.")


@pytest.mark.parametrize(
    ("param_grid", "changes", "error"),
    [
        ({"blocks": [1], "lr": [0.1, -1]}, {}, "blocks=1, lr=-1 cannot be trained. lr must be"),
        (
            {"norm": ["batch", "none"], "zero_init": [False, True]},
            {},
            "norm=none, zero_init=true cannot be trained. zero_init must be False",
        ),
        ({"pool": ["max"]}, {"poool": "max"}, "Got 'poool'; did you mean 'pool'?"),
        ({"width": [2, 4]}, {}, "width must be either in the grid or fixed. Got both."),
        ({"blocks": [2]}, {"seeds": 0}, "seeds must be an integer of at least 1. Got 0."),
        (
            {"blocks": [1]},
            {"validation_fraction": 0.999},
            "cannot be trained. validation_fraction must leave an image for each",
        ),
        ({"batch_size": [7]}, {"model": "huge"}, "batch_size=7 cannot be trained. model must be one of tiny, "),
    ],
)
def test_run_study_rejects_invalid_options_before_training(
    param_grid: sweep.ParamGrid, changes: dict[str, object], error: str, digits: gn.Dataset, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=re.escape(error)):
        run_study(digits, tmp_path, param_grid, **changes)
    assert not list(tmp_path.iterdir())
