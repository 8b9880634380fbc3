import json
import re
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest

import glassnet as gn
from glassnet.errors import ConfigError
from glassnet.measures.seed_stats import paired_difference
from glassnet.pages.page import render
from glassnet.studies import sweep
from glassnet.studies.sweep import Setting, SweepStudy

Accuracies = dict[tuple[object, ...], tuple[float | None, ...]]


def made_up(accuracies: Accuracies, **axes: tuple[object, ...]) -> SweepStudy:
    """A sweep whose settings, by their values, end at these accuracies, one for each seed."""
    settings = tuple(
        Setting(tuple(zip(axes, values, strict=True)), 1234, ends, tuple(end and 1 - end for end in ends), 2.5)
        for values, ends in accuracies.items()
    )
    seeds = tuple(range(len(next(iter(accuracies.values())))))
    return SweepStudy("digits", "tiny", "validation", 269, seeds, tuple(axes.items()), settings)


def grid_study() -> SweepStudy:
    """A norm that brings 10 points whatever the number of blocks, which brings nothing."""
    return made_up(
        {
            (1, "none"): (0.80, 0.82, 0.81),
            (1, "batch"): (0.90, 0.92, 0.912),
            (2, "none"): (0.81, 0.81, 0.805),
            (2, "batch"): (0.91, 0.912, 0.91),
        },
        blocks=(1, 2),
        norm=("none", "batch"),
    )


def test_an_effect_is_a_mean_over_the_other_fields_paired_by_seed() -> None:
    blocks, norm = grid_study().effects
    assert (norm.field, norm.first, norm.second) == ("norm", "none", "batch")
    expected = paired_difference([0.805, 0.815, 0.8075], [0.905, 0.916, 0.911])
    assert astuple(norm.difference) == pytest.approx(astuple(expected))
    assert norm.beyond_chance
    assert not blocks.beyond_chance
    assert norm.p_value == pytest.approx(2 * (norm.difference.p_value or 0))  # Holm: the smaller of two


def test_three_values_are_three_effects() -> None:
    study = made_up({(value,): (value, value + 0.01) for value in (0.1, 0.2, 0.3)}, dropout=(0.1, 0.2, 0.3))
    assert [(one.first, one.second) for one in study.effects] == [(0.1, 0.2), (0.1, 0.3), (0.2, 0.3)]


def test_the_words_follow_the_numbers() -> None:
    best, rivals, blocks, norm, judged = grid_study().summary
    assert best == (
        "Of 4 settings of tiny on digits, “blocks=1, norm=batch” is the best: validation accuracy 0.9107 ± 0.0101 over "
        "3 seeds."
    )
    assert rivals.startswith("“blocks=2, norm=batch” follows, 0.00 percentage points behind (95% interval ")
    assert rivals.endswith("These seeds do not tell the best from 1 of the 3 others.")
    assert blocks.startswith("blocks: 1 is 0.08 percentage points better than 2 in the mean of all other settings (95%")
    assert blocks.endswith("which chance may explain.")
    assert norm.startswith("norm: batch is 10.15 percentage points better than none in the mean of all other settings")
    assert norm.endswith("more than chance explains.")
    assert judged.startswith("All accuracies are those of 269 validation images, held out of the training images")


def test_no_interval_ends_beyond_a_hundred_points() -> None:
    _, rivals, norm, _ = made_up({("none",): (0.9, 0.1), ("batch",): (0.1, 0.2)}, norm=("none", "batch")).summary
    assert "(95% interval −100.00 to +100.00)" in rivals
    assert "(95% interval −100.00 to +100.00)" in norm


def test_the_opposite_numbers_give_the_opposite_words() -> None:
    study = made_up({("none",): (0.9, 0.91, 0.92), ("batch",): (0.8, 0.81, 0.815)}, norm=("none", "batch"))
    _, rivals, norm, _ = study.summary
    assert rivals.endswith("All others are behind by more than chance explains.")
    assert norm.startswith("norm: none is 10.17 percentage points better than batch")


def test_equal_values_are_called_equal() -> None:
    study = made_up({(1,): (0.9, 0.8), (2,): (0.9, 0.8)}, blocks=(1, 2))
    assert study.summary[2] == "blocks: all values do equally well in the mean of all other settings."


def test_one_seed_says_nothing_of_chance() -> None:
    study = made_up({(1,): (0.9,), (2,): (0.8,)}, blocks=(1, 2))
    best, rivals, blocks, judged = study.summary
    assert best.endswith("validation accuracy 0.9000 over 1 seed.")
    assert rivals == (
        "“blocks=2” follows, 10.00 percentage points behind; whether chance explains that, one seed does not tell."
    )
    assert blocks == "blocks: 1 is 10.00 percentage points better than 2 in the mean of all other settings."
    assert "Chance" not in judged
    assert study.effects[0].p_value is None


def test_what_diverged_is_said_and_left_out() -> None:
    study = made_up(
        {(1, 0.1): (0.9, 0.91), (1, 9.0): (None, 0.1), (2, 0.1): (0.8, 0.82), (2, 9.0): (0.1, 0.1)},
        blocks=(1, 2),
        lr=(0.1, 9.0),
    )
    assert "Training diverged in 1 setting, left out of all means: “blocks=1, lr=9”." in study.summary
    blocks, lr = study.effects
    assert blocks.difference.mean == pytest.approx(0.095)  # of the pair that is whole
    assert lr.difference.mean == pytest.approx(0.71)
    assert study.best_first[-1].name == "blocks=1, lr=9"
    assert study.to_dict()["effects"][1]["difference"]["mean"] == lr.difference.mean
    assert "| 1 | 9 | 1,234 | diverged | diverged | 2.5 |" in sweep.markdown(study)
    render(sweep.build_page(study))
    json.dumps(study.to_dict(), allow_nan=False)


def test_nothing_but_divergence() -> None:
    study = made_up({(1.0,): (None,), (2.0,): (None,)}, lr=(1.0, 2.0))
    assert study.summary[0] == "Training diverged in 2 settings, left out of all means: “lr=1”; “lr=2”."
    assert study.effects == []
    render(sweep.build_page(study))


def test_the_table_can_be_pasted() -> None:
    assert sweep.markdown(grid_study()).splitlines()[:3] == [
        "| blocks | norm | parameters | validation accuracy | validation loss | seconds |",
        "| --- | --- | --- | --- | --- | --- |",
        "| 1 | batch | 1,234 | 0.9107 ± 0.0101 | 0.0893 ± 0.0101 | 2.5 |",
    ]


def test_the_page() -> None:
    study = grid_study()
    page = sweep.build_page(study)
    assert [section.title for section in page.sections] == ["Field by field", "Every setting"]
    fields, effects = page.sections[0].blocks
    gray, blue = fields.data[0], fields.data[3]
    assert list(gray.y) == pytest.approx([0.85, 0.86])  # the first seed, with one block and with two
    assert list(blue.y) == pytest.approx([np.mean([0.8, 0.82, 0.81, 0.9, 0.92, 0.912]), 0.8595], abs=1e-9)
    assert list(fields.layout.xaxis.ticktext) == ["1", "2", "none", "batch"]
    assert [row[-1] for row in effects.rows] == ["no", "yes"]
    dots, _ = page.sections[1].blocks[0].data
    assert len(dots.x) == 12
    assert sweep.markdown(study) in page.sections[1].blocks[2].text
    assert "blocks=2, norm=batch" in render(page)


def run_study(data: gn.Dataset, folder: Path, axes: sweep.Axes, **changes: object) -> SweepStudy:
    given = {"model": "tiny", "seeds": 2, "epochs": 1, "width": 2}
    return sweep.run_study(data, axes, folder=folder, **{**given, **changes})


@pytest.fixture(scope="module")
def measured(digits: gn.Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[SweepStudy, Path]:
    folder = tmp_path_factory.mktemp("sweep")
    return run_study(digits, folder, {"blocks": [1, 2], "dropout": [0, 0.3]}), folder


def test_every_combination_is_trained_with_every_seed(measured: tuple[SweepStudy, Path]) -> None:
    study, folder = measured
    common = "epochs=1,validation=0.2"
    assert {path.name for path in folder.iterdir()} == {
        f"tiny,width=2,{changed}{common},seed={seed}"
        for changed in ("", "blocks=2,", "dropout=0.3,", "blocks=2,dropout=0.3,")
        for seed in (0, 1)
    }
    assert [one.name for one in study.settings][:2] == ["blocks=1, dropout=0", "blocks=1, dropout=0.3"]
    assert study.images == 40


def test_the_score_is_the_last_epochs_validation_accuracy(measured: tuple[SweepStudy, Path]) -> None:
    study, folder = measured
    run = gn.load(folder / "tiny,width=2,blocks=2,epochs=1,validation=0.2,seed=1")
    assert study.settings[2].accuracy[1] == run.history[-1]["validation_accuracy"]
    assert study.settings[2].parameters == run.network.parameter_count


def test_a_larger_grid_trains_only_what_is_new(
    measured: tuple[SweepStudy, Path], digits: gn.Dataset, snapshot: Callable[[Path], dict[str, object]]
) -> None:
    study, folder = measured
    before = snapshot(folder)
    larger = run_study(digits, folder, {"dropout": [0, 0.3], "blocks": [1, 2], "norm": ["none", "batch"]}, seeds=1)
    after = snapshot(folder)
    assert {name: after[name] for name in before} == before
    assert len(list(folder.iterdir())) == 12
    same = next(one for one in larger.settings if one.name == "dropout=0, blocks=2, norm=none")
    assert same.accuracy[0] == study.settings[2].accuracy[0]


def test_without_a_validation_share_the_test_images_compare(digits: gn.Dataset, tmp_path: Path) -> None:
    study = run_study(digits, tmp_path, {}, validation=0.0, seeds=1)
    assert (study.split, study.images) == ("test", 450)
    (run,) = tmp_path.iterdir()
    assert study.settings[0].accuracy == (gn.load(run).history[-1]["test_accuracy"],)
    assert study.summary[-1].endswith(
        "test images after the last epoch: a setting that is chosen by them must be tested on others."
    )
    assert [section.title for section in sweep.build_page(study).sections] == ["Every setting"]


@pytest.mark.parametrize(
    ("axes", "changes", "told"),
    [
        ({"blocks": [1], "lr": [0.1, -1]}, {}, "blocks=1, lr=-1 cannot be trained. lr must be"),
        (
            {"norm": ["batch", "none"], "zero_init": [False, True]},
            {},
            "norm=none, zero_init=true cannot be trained. zero_init must be False",
        ),
        ({"pool": ["max"]}, {"poool": "max"}, "Got 'poool'; did you mean 'pool'?"),
        ({"width": [2, 4]}, {}, "The field width cannot be swept and fixed at 2 at once."),
        ({"blocks": [2]}, {"seeds": 0}, "A sweep needs at least one seed. Got 0."),
        ({"blocks": [1]}, {"validation": 0.999}, "cannot be trained. a share of 0.999 of 200 images splits them"),
        ({"batch_size": [7]}, {"model": "huge"}, "batch_size=7 cannot be trained. model must be one of tiny, "),
    ],
)
def test_refused_before_anything_is_trained(
    axes: sweep.Axes, changes: dict[str, object], told: str, digits: gn.Dataset, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        run_study(digits, tmp_path, axes, **changes)
    assert not list(tmp_path.iterdir())
