import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import glassnet as gn
from glassnet.architecture import initial_state_dict
from glassnet.errors import ConfigError, RunError
from glassnet.pages.page import render
from glassnet.studies import degradation
from glassnet.studies.degradation import DegradationStudy, Descent

Ends = dict[tuple[bool, int], list[float]]


def made_up(ends: Ends, norm: str = "batch") -> DegradationStudy:
    """A study whose networks, by (residual, depth), end at these training errors, one for each seed."""
    descents = tuple(
        Descent(norm, residual, depth, seed, (0.9, error), (2.3, 2 * error), (0.9, error), diverged=False)
        for (residual, depth), errors in ends.items()
        for seed, error in enumerate(errors)
    )
    return DegradationStudy("digits", 1347, 2, 8, descents)


PLAIN_8, PLAIN_56, RESIDUAL_8, RESIDUAL_56 = (False, 8), (False, 56), (True, 8), (True, 56)
LOW, LOWER, HIGH = [0.01, 0.02, 0.015], [0.001, 0.002, 0.001], [0.7, 0.75, 0.72]
DEGRADED: Ends = {PLAIN_8: LOW, PLAIN_56: HIGH, RESIDUAL_8: LOW, RESIDUAL_56: LOWER}
WORSE = "more layers make the plain network worse on the very images it learns from"


@pytest.mark.parametrize(
    ("ends", "conclusion"),
    [
        (DEGRADED, f"{WORSE}: degradation, not overfitting. The skip connection removes it."),
        (
            DEGRADED | {RESIDUAL_56: [0.20, 0.21, 0.22]},
            f"{WORSE}: degradation, not overfitting. The skip connection removes 72% of it.",
        ),
        (
            DEGRADED | {RESIDUAL_56: [0.71, 0.74, 0.73]},
            f"{WORSE}, and the skip connection does NOT remove that: it happens to the residual one, too.",
        ),
        (
            DEGRADED | {RESIDUAL_56: [0.01, 0.9, 0.4]},
            f"{WORSE}. Whether the skip connection removes that, these seeds do not tell: they differ too much.",
        ),
        (
            DEGRADED | {PLAIN_56: LOWER},
            "the opposite of degradation shows: more layers make the plain network better on its training images.",
        ),
        (
            DEGRADED | {PLAIN_56: [0.01, 0.9, 0.4]},
            "these seeds show no degradation beyond chance: what depth changes of the plain network's training error, "
            "chance may explain.",
        ),
        (
            {PLAIN_8: HIGH, PLAIN_56: LOW, RESIDUAL_8: LOW, RESIDUAL_56: HIGH},
            "the opposite of degradation shows: more layers make the plain network better on its training images. The "
            "residual network does get worse with depth.",
        ),
    ],
    ids=["removed", "partly", "not removed", "cannot tell", "opposite", "nothing", "reversed"],
)
def test_the_statement_follows_the_numbers(ends: Ends, conclusion: str) -> None:
    words, _ = made_up(ends).summary
    assert words.startswith(f"With batch normalization, {conclusion} Plain networks of 8 and 56 layers end at ")


def test_the_statement_has_its_numbers() -> None:
    words, chance = made_up(DEGRADED).summary
    assert (
        "Plain networks of 8 and 56 layers end at training errors of 1.5% and 72.3%: the deepest ends 70.8 percentage "
        "points above the shallowest (95% interval of the difference +65.8 to +75.9)."
    ) in words
    assert (
        "Residual networks of 8 and 56 layers end at training errors of 1.5% and 0.1%: the deepest ends 1.4 percentage "
        "points below the shallowest (95% interval of the difference −2.5 to −0.2). At 56 layers the residual network "
        "ends below the plain one by more than chance explains."
    ) in words
    assert chance.startswith("All errors are means over 3 seeds. Differences are paired by seed")


def test_no_interval_ends_beyond_a_hundred_points() -> None:
    words, _ = made_up(
        {network: errors[:2] for network, errors in (DEGRADED | {PLAIN_56: [0.01, 0.9, 0.4]}).items()}
    ).summary
    assert "(95% interval of the difference −100.0 to +100.0), which chance may explain" in words


def test_equal_ends_and_no_help_are_said() -> None:
    words, _ = made_up(dict.fromkeys(DEGRADED, LOW)).summary
    told = "within 0.05 percentage points of the shallowest (95% interval of the difference +0.0 to +0.0)."
    assert words.count(told) == 2
    assert words.endswith("At no depth does the residual network end below the plain one by more than chance explains.")


def test_one_seed_makes_no_claim_about_chance() -> None:
    words, chance = made_up({network: errors[:1] for network, errors in DEGRADED.items()}).summary
    assert "The skip connection removes it." in words
    assert "interval" not in words
    assert chance == "Each number is one network from one seed: how far chance moves it, only several seeds tell."


def test_without_normalization_is_said_apart() -> None:
    both = made_up(DEGRADED), made_up(DEGRADED | {PLAIN_56: LOWER}, "none")
    study = replace(both[0], descents=both[0].descents + both[1].descents)
    first, second, _ = study.summary
    assert first.startswith(f"With batch normalization, {WORSE}")
    assert second.startswith("Without normalization, the opposite of degradation shows")
    assert [section.title for section in degradation.build_page(study).sections] == [
        "With batch normalization",
        "Without normalization",
        "In numbers",
    ]


def test_what_diverged_is_said_and_not_averaged() -> None:
    study = made_up(DEGRADED)
    *others, last = study.descents
    study = replace(study, descents=(*others, replace(last, error=(), loss=(), test_error=(), diverged=True)))
    words, _ = study.summary
    assert words.startswith("With batch normalization, trainings diverged, so neither depth nor the skip connection")
    assert "Residual networks of 8 and 56 layers end at training errors of 1.5% and divergence" in words
    assert degradation.rows(study)[3]["training error"] == "diverged"
    render(degradation.build_page(study))
    json.dumps(study.to_dict(), allow_nan=False)


def test_rows_are_means_and_deviations() -> None:
    assert degradation.rows(made_up(DEGRADED))[1] == {
        "network": "plain",
        "norm": "batch",
        "layers": 56,
        "training error": "0.7233 ± 0.0252",
        "training loss": "1.4467 ± 0.0503",
        "test error": "0.7233 ± 0.0252",
    }


def test_the_figures_draw_every_training() -> None:
    study = made_up(DEGRADED)
    by_depth, errors, losses = degradation.build_page(study).sections[0].blocks[1:]
    plain, plain_mean, residual, _ = by_depth.data
    assert list(plain.y) == [*LOW, *HIGH]
    assert list(plain_mean.y) == [pytest.approx(np.mean(LOW)), pytest.approx(np.mean(HIGH))]
    assert list(residual.x) == [8, 8, 8, 56, 56, 56]
    assert [trace.name for trace in errors.data[:4]] == [
        "plain, 56 layers",
        "plain, 8 layers",
        "residual, 56 layers",
        "residual, 8 layers",
    ]
    assert list(errors.data[0].y) == pytest.approx([0.9, np.mean(HIGH)])
    assert list(errors.data[4].y) == [0.9, max(HIGH), min(HIGH), 0.9]  # the shade: up along the highest, back
    assert losses.layout.yaxis.type == "log"


@pytest.fixture(scope="module")
def measured(digits: gn.Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[DegradationStudy, Path]:
    folder = tmp_path_factory.mktemp("degradation")
    return run_study(digits, folder), folder


def run_study(data: gn.Dataset, folder: Path, **changes: object) -> DegradationStudy:
    given = {"depths": [14, 8], "norms": ["batch"], "seeds": 2, "epochs": 2, "width": 2}
    return degradation.run_study(data, folder=folder, **{**given, **changes})


def test_each_network_is_trained_with_each_seed(measured: tuple[DegradationStudy, Path]) -> None:
    study, folder = measured
    networks = ("plain-8", "plain-14", "residual-8", "residual-14")
    names = {f"{network},norm=batch,seed={seed}" for network in networks for seed in (0, 1)}
    assert {path.name for path in folder.iterdir()} == names
    assert (study.depths, study.norms, study.seeds) == ([8, 14], ["batch"], [0, 1])
    assert all(len(one.error) == 2 for one in study.descents)


def test_the_error_is_that_of_all_training_images_in_evaluation_mode(
    measured: tuple[DegradationStudy, Path], digits: gn.Dataset
) -> None:
    study, folder = measured
    model = gn.load(folder / "plain-14,norm=batch,seed=1")
    logits = model.network.logits(model.normalization.apply(digits.train.images, "float32"))
    wrong = float((logits.argmax(axis=1) != digits.train.labels).mean())
    assert study.of("batch", False, 14)[1].error[-1] == pytest.approx(wrong)


def test_plain_and_residual_begin_with_the_same_weights(measured: tuple[DegradationStudy, Path]) -> None:
    _, folder = measured
    plain, residual = (gn.load(folder / f"{kind}-14,norm=batch,seed=1").network.spec for kind in ("plain", "residual"))
    assert plain == residual.replace(skip=False)
    first, second = (initial_state_dict(spec, 1) for spec in (plain, residual))
    assert list(first) == list(second)
    assert all(np.array_equal(first[key], second[key]) for key in first)


def test_a_second_call_trains_nothing(
    measured: tuple[DegradationStudy, Path], digits: gn.Dataset, snapshot: Callable[[Path], object]
) -> None:
    study, folder = measured
    before = snapshot(folder)
    assert run_study(digits, folder) == study
    assert snapshot(folder) == before
    told = f"recipe.epochs must be 2 to resume {re.escape(str(folder))}.*seed=\\d. Got 3."
    with pytest.raises(RunError, match=told):
        run_study(digits, folder, epochs=3)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"depths": [8, 21]}, "A depth must be 6n + 2 with n of at least 1, such as 8, 20 or 56. Got 21."),
        ({"depths": [8, 8]}, "Degradation is a matter of depth: at least two depths are needed. Got [8]."),
        ({"seeds": 0}, "This study needs at least one seed. Got 0."),
        ({"norms": ["layer"]}, "norm must be one of 'batch', 'none'. Got 'layer'."),
    ],
)
def test_refused(changes: dict[str, object], told: str, digits: gn.Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        run_study(digits, tmp_path, **changes)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_deeper_plain_network_is_worse_and_the_residual_one_is_not(tmp_path: Path) -> None:
    """The study itself, cut down: one seed, two depths."""
    study = degradation.run_study(depths=[8, 56], norms=["batch"], seeds=1, folder=tmp_path)
    plain, residual = study.deeper("batch", False), study.deeper("batch", True)
    assert plain is not None
    assert residual is not None
    assert plain.mean > 0.5
    assert residual.mean < 0.01
    assert study.summary[0].startswith(f"With batch normalization, {WORSE}: degradation, not overfitting. The skip")
