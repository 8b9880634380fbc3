import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import glassnet as gn
from glassnet.errors import ConfigError, RunError
from glassnet.initialization import initial_state_dict
from glassnet.studies import degradation
from glassnet.studies.degradation import DegradationStudy
from tests.studies.degradation.made_up import (
    DEGRADED,
    HIGH,
    LOW,
    LOWER,
    PLAIN_8,
    PLAIN_56,
    RESIDUAL_8,
    RESIDUAL_56,
    Ends,
    made_up,
)

WORSE = "the training error of the plain network rises significantly with depth: degradation, not overfitting."
SCATTERED = [0.01, 0.9, 0.4]


@pytest.mark.parametrize(
    ("ends", "conclusion"),
    [
        (DEGRADED, f"{WORSE} Skip connections remove it."),
        (DEGRADED | {RESIDUAL_56: [0.20, 0.21, 0.22]}, f"{WORSE} Skip connections remove 72% of the rise."),
        (
            DEGRADED | {RESIDUAL_56: [0.71, 0.74, 0.73]},
            f"{WORSE} That of the residual network rises significantly with depth. Skip connections do not remove the "
            "degradation.",
        ),
        (
            DEGRADED
            | {RESIDUAL_56: [0.03, 0.04, 0.035]},  # only 97% of the rise, but significantly less than all of it
            f"{WORSE} Skip connections remove 97% of the rise.",
        ),
        (DEGRADED | {RESIDUAL_56: SCATTERED}, f"{WORSE} The effect of skip connections on it is not significant."),
        (
            DEGRADED | {PLAIN_56: LOWER},
            "the training error of the plain network falls significantly with depth, the opposite of degradation.",
        ),
        (
            DEGRADED | {PLAIN_56: SCATTERED},
            "the training error of the plain network does not change significantly with depth.",
        ),
        (
            {PLAIN_8: HIGH, PLAIN_56: LOW, RESIDUAL_8: LOW, RESIDUAL_56: HIGH},
            "the training error of the plain network falls significantly with depth, the opposite of degradation. That "
            "of the residual network rises significantly with depth.",
        ),
    ],
    ids=["removed", "partly", "nearly", "not removed", "not significant", "opposite", "no change", "reversed"],
)
def test_summary_states_what_the_numbers_show(ends: Ends, conclusion: str) -> None:
    statement, _, _ = made_up(ends).summary
    assert re.match(
        f"With batch normalization, {re.escape(conclusion)} (Residual networks have|At no depth)", statement
    )


def test_summary_has_numbers_intervals_and_tests() -> None:
    statement, errors, test = made_up(DEGRADED).summary
    assert statement.endswith(
        "Residual networks have a significantly lower training error than plain ones at 56 layers (paired t-test, "
        "p = 0.00039)."
    )
    assert errors == (
        "With batch normalization, plain networks of 8 and 56 layers reach training errors of 1.5% and 72.3%. From 8 "
        "to 56 layers the error rises by 70.8 percentage points (95% interval 65.8 to 75.9; significant, paired "
        "t-test, p = 0.00027). Residual networks of 8 and 56 layers reach training errors of 1.5% and 0.1%. From 8 to "
        "56 layers the error falls by 1.4 percentage points (95% interval −2.5 to −0.2; significant, paired t-test, "
        "p = 0.034)."
    )
    assert test.startswith("Errors are means over 3 seeds. Differences are tested at the 5% level by the paired t-test")


def test_summary_names_the_largest_of_several_p_values() -> None:
    study = made_up(DEGRADED | {PLAIN_8: [0.11, 0.13, 0.12]})
    small, large = (study.skip_effect("batch", depth) for depth in (56, 8))
    assert small is not None
    assert small.p_value is not None
    assert large is not None
    assert large.p_value is not None
    assert small.p_value < large.p_value < 0.05
    assert f"at 8 and 56 layers (paired t-test, largest p = {large.p_value:.2g})." in study.summary[0]


def test_summary_interval_ends_at_a_hundred_points() -> None:
    _, errors, _ = made_up(
        {network: errors[:2] for network, errors in (DEGRADED | {PLAIN_56: SCATTERED}).items()}
    ).summary
    assert "(95% interval −100.0 to 100.0; not significant, paired t-test, p = 0.5)" in errors


def test_summary_of_equal_ends() -> None:
    statement, errors, _ = made_up(dict.fromkeys(DEGRADED, LOW)).summary
    change = (
        "changes by less than 0.05 percentage points (95% interval 0.0 to 0.0; not significant, paired t-test, p = 1)"
    )
    assert errors.count(change) == 2
    assert statement.endswith(
        "At no depth do residual networks have a significantly lower training error than plain ones."
    )


def test_summary_of_one_seed_tests_nothing() -> None:
    statement, errors, test = made_up({network: errors[:1] for network, errors in DEGRADED.items()}).summary
    assert "Skip connections remove it." in statement
    assert "rises by 69.0 percentage points (one seed, not tested)" in errors
    assert statement.endswith("Residual networks have a lower training error than plain ones at 56 layers.")
    assert "significant" not in statement + errors
    assert test == "Each number comes from one seed, so no difference is tested."


def test_summary_has_one_statement_for_each_norm() -> None:
    both = made_up(DEGRADED), made_up(DEGRADED | {PLAIN_56: LOWER}, "none")
    first, _, second, *_ = replace(both[0], curves=both[0].curves + both[1].curves).summary
    assert first.startswith(f"With batch normalization, {WORSE}")
    assert second.startswith("Without normalization, the training error of the plain network falls")


def test_summary_reports_diverged_runs_without_averaging(diverged: DegradationStudy) -> None:
    statement, errors, _ = diverged.summary
    assert statement.startswith(
        "With batch normalization, some runs diverged, so the effects of depth and skip connections are not tested."
    )
    assert "Residual networks of 8 and 56 layers reach training errors of 1.5% and divergence." in errors
    assert "From 8 to 56 layers the change is not tested, since a run diverged." in errors


@pytest.fixture(scope="module")
def measured(digits: gn.Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[DegradationStudy, Path]:
    folder = tmp_path_factory.mktemp("degradation")
    return run_study(digits, folder), folder


def run_study(data: gn.Dataset, folder: Path, **changes: object) -> DegradationStudy:
    options = {"depths": [14, 8], "norms": ["batch"], "seeds": 2, "epochs": 2, "width": 2}
    return degradation.run_study(data, folder=folder, **{**options, **changes})


def test_run_study_trains_each_network_with_each_seed(measured: tuple[DegradationStudy, Path]) -> None:
    study, folder = measured
    networks = ("plain-8", "plain-14", "residual-8", "residual-14")
    names = {f"{network},norm=batch,seed={seed}" for network in networks for seed in (0, 1)}
    assert {path.name for path in folder.iterdir()} == names
    assert (study.depths, study.norms, study.seeds) == ([8, 14], ["batch"], [0, 1])
    assert all(len(curve.error) == 2 for curve in study.curves)


def test_error_is_that_of_all_training_images_in_evaluation_mode(
    measured: tuple[DegradationStudy, Path], digits: gn.Dataset
) -> None:
    study, folder = measured
    model = gn.load(folder / "plain-14,norm=batch,seed=1")
    logits = model.network.logits(model.normalization.apply(digits.train.images, "float32"))
    error = float((logits.argmax(axis=1) != digits.train.labels).mean())
    assert study.select("batch", False, 14)[1].error[-1] == pytest.approx(error)


def test_test_error_is_that_of_all_images_where_some_were_trained_on(digits: gn.Dataset, tmp_path: Path) -> None:
    data = gn.Dataset.from_splits(digits.train, digits.train.take(np.arange(50)), digits.classes, scale=16)
    study = run_study(data, tmp_path, seeds=1, epochs=1)
    history = gn.load(tmp_path / "plain-14,norm=batch,seed=0").history
    assert study.select("batch", False, 14)[0].test_error == (1 - history[-1]["evaluated_accuracy"],)


def test_plain_and_residual_networks_start_from_the_same_weights(measured: tuple[DegradationStudy, Path]) -> None:
    _, folder = measured
    plain, residual = (gn.load(folder / f"{kind}-14,norm=batch,seed=1").network.spec for kind in ("plain", "residual"))
    assert plain == residual.replace(skip=False)
    first, second = (initial_state_dict(spec, 1) for spec in (plain, residual))
    assert list(first) == list(second)
    assert all(np.array_equal(first[key], second[key]) for key in first)


def test_run_study_reuses_finished_runs(
    measured: tuple[DegradationStudy, Path], digits: gn.Dataset, snapshot: Callable[[Path], object]
) -> None:
    study, folder = measured
    before = snapshot(folder)
    assert run_study(digits, folder) == study
    assert snapshot(folder) == before
    with pytest.raises(
        RunError, match=rf"recipe.epochs must be 2 to resume {re.escape(str(folder))}.*seed=\d\. Got 3\."
    ):
        run_study(digits, folder, epochs=3)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"depths": [8, 21]}, "depths must be 6n + 2 with n of at least 1, such as 8, 20 or 56. Got 21."),
        ({"depths": [8, 8]}, "depths must be at least two that differ. Got [8]."),
        ({"depths": []}, "depths must be at least two that differ. Got []."),
        ({"norms": []}, "norms must be one or several of batch, none. Got []."),
        ({"seeds": 0}, "seeds must be an integer of at least 1. Got 0."),
        ({"norms": ["layer"]}, "norm must be one of 'batch', 'none'. Got 'layer'."),
    ],
)
def test_run_study_rejects_invalid_options(
    changes: dict[str, object], error: str, digits: gn.Dataset, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=re.escape(error)):
        run_study(digits, tmp_path, **changes)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_digits_show_degradation_and_skip_connections_remove_it(tmp_path: Path) -> None:
    """The study itself, cut down: one seed, two depths, half of the epochs."""
    study = degradation.run_study(depths=[8, 44], norms=["batch"], seeds=1, epochs=5, folder=tmp_path)
    plain, residual = study.depth_effect("batch", False), study.depth_effect("batch", True)
    assert plain is not None
    assert residual is not None
    assert plain.mean > 0.5
    assert residual.mean < 0.01
    assert study.summary[0].startswith(f"With batch normalization, {WORSE.replace(' significantly', '')} Skip")
