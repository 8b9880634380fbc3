import pytest

from tests.reports.runs_to_compare import RIGHT, contestant, wrong_on


def words(comparison):
    return " ".join(comparison.words)


def test_the_better_run_by_more_than_chance_explains(contest):
    said = contest(contestant("a", wrong_on(*range(10))), contestant("b", wrong_on(29))).words
    assert said[0] == (
        "“b” names 29 of 30 test images correctly (96.7%), “a” 20 (66.7%): “b” is better by 30.0 percentage points."
    )
    # 2 · (1 + 11) / 2¹¹ = 0.0117
    assert said[1] == (
        "“b” is right on 10 images that “a” gets wrong, and wrong on 1 that “a” gets right. If the two were equally "
        "good, chance would split such images at least so unevenly in 1.2% of all cases (McNemar's exact test): the "
        "difference is more than chance explains."
    )


def test_the_verdict_follows_the_numbers_not_the_order(contest):
    one, other = contestant("a", wrong_on(*range(10))), contestant("b", wrong_on(29))
    assert contest(one, other).words[:2] == contest(other, one).words[:2]
    swapped = contest(contestant("a", wrong_on(29)), contestant("b", wrong_on(*range(10))))
    assert swapped.words[0].endswith("“a” is better by 30.0 percentage points.")


def test_a_difference_within_chance(contest):
    said = contest(contestant("a", wrong_on(0, 1, 2)), contestant("b", wrong_on(*range(3, 8)))).words
    assert said[1].startswith("“a” is right on 5 images that “b” gets wrong, and wrong on 3 that “b” gets right.")
    # 2 · (1 + 8 + 28 + 56) / 2⁸ = 0.727
    assert said[1].endswith(
        "in 73% of all cases (McNemar's exact test): the difference is within what chance explains."
    )


def test_five_images_can_show_nothing_and_six_can(contest):
    few = contest(contestant("a"), contestant("b", wrong_on(*range(5)))).words[1]
    assert "6.2% of all cases" in few
    assert few.endswith("within what chance explains. With so few of them, no split could be more.")
    enough = contest(contestant("a"), contestant("b", wrong_on(*range(6)))).words[1]
    assert enough.endswith("in 3.1% of all cases (McNemar's exact test): the difference is more than chance explains.")


def test_equally_good(contest):
    said = contest(contestant("a", wrong_on(0, 1)), contestant("b", wrong_on(4, 5))).words
    assert said[0] == "“a” and “b” both name 28 of 30 test images correctly (93.3%)."
    assert said[1] == "Each is right on 2 images that the other gets wrong: the numbers favour neither."


def test_right_on_the_very_same_images(contest):
    said = contest(contestant("a", wrong_on(0)), contestant("b", wrong_on(0))).words
    assert said[1] == "Both are right and wrong on the very same images: nothing says that either is better."


def test_several_runs_are_ranked_and_the_best_is_held_against_each(contest):
    runs = [contestant("far", wrong_on(*range(15))), contestant("close", wrong_on(0)), contestant("best")]
    said = contest(*runs).words
    assert said[0] == (
        "Of 30 test images the runs name correctly, best first: “best” 30 (100.0%), “close” 29 (96.7%), "
        "“far” 15 (50.0%)."
    )
    assert said[1] == (
        "“best” is better than “far” by more than chance explains. Between “best” and “close” any difference is within "
        "what chance explains. (McNemar's exact test at 5%, corrected for 3 pairs as Holm does; every pair stands "
        "below.)"
    )


def test_the_number_of_pairs_counts(contest):
    """Six images to none are enough for two runs (p = 0.031), but not for one pair of six."""
    runs = [contestant("a"), contestant("b", wrong_on(*range(6)))]
    assert "more than chance" in contest(*runs).words[1]
    assert "more than chance" not in contest(*runs, contestant("c"), contestant("d")).words[1]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "All recorded settings are the same."),
        ({"machine": "Plan 9"}, "All settings but the versions are the same."),
        ({"seed": 7, "recipe": {"seed": 7}}, "The runs differ in the seed alone: this is how far chance in training"),
        ({"engine": "torch"}, "The runs differ in engine alone. They start from the same weights and see the same"),
        ({"spec": {"skip": False}}, "The runs differ in skip (yes against no). Each is one network from one seed:"),
        (
            {"spec": {"pool": "stride"}, "recipe": {"lr": 0.2}, "engine": "torch"},
            "The runs differ in engine (numpy against torch), pool (max against stride) and lr (0.1 against 0.2). Each",
        ),
        (
            {"spec": {f"field_{number}": 1 for number in range(12)}},
            "The runs differ in field 0, field 1, field 2, field 3, field 4, field 5, field 6, field 7 and 4 more.",
        ),
    ],
)
def test_what_differs(contest, changes, sentence):
    assert sentence in words(contest(contestant("a"), contestant("b", **changes)))


def test_who_is_faster(contest):
    said = words(contest(contestant("a", seconds=(9.0, 2.0, 2.0)), contestant("b", seconds=(0.5, 0.5, 0.5))))
    assert "“b” is the faster: an epoch takes 500 ms (median), of “a” 2.0 s, 4.0 times as long." in said
    assert said.endswith("4.0 times as long. No recorded setting explains that; other work on the machine may.")
    seeds = words(contest(contestant("a", seed=1), contestant("b", seconds=(9.0,), seed=2)))
    assert "machine" not in seeds
    alike = words(contest(contestant("a", seconds=(1.0,)), contestant("b", seconds=(1.05,))))
    assert "Both take about 1.0 s an epoch." in alike
    runs = [contestant(name, seconds=(float(number),)) for number, name in enumerate("abc", start=1)]
    assert "“a” is the fastest: an epoch takes 1.0 s (median), of “c” 3.0 s" in words(contest(*runs))


def test_times_of_different_machines_are_said_to_be_such(contest):
    said = words(contest(contestant("a"), contestant("b", seconds=(5.0,), machine="Plan 9")))
    assert "They did not all run on the same kind of machine." in said


def test_parameters(contest):
    assert "Both have 1,000 parameters." in words(contest(contestant("a"), contestant("b")))
    said = words(contest(contestant("a", parameters=1500), contestant("b")))
    assert "“a” has 1,500 parameters, 1.5 times as many as “b” with 1,000." in said


def test_an_unfinished_run_is_named(contest):
    said = words(contest(contestant("a", seconds=(1.0,)), contestant("b")))
    assert "“a” is not finished: 1 of 2 epochs are recorded." in said
    assert "“b” is not finished" not in said


def test_weights_that_validation_chose_are_named(contest):
    said = words(contest(contestant("a", recipe={"validation": 0.1}), contestant("b")))
    assert "Of “a” the weights are those that its validation images chose." in said


def test_the_same_folder_twice_is_said(contest, tmp_path):
    said = words(contest(contestant(tmp_path / "a"), contestant(tmp_path / "x" / ".." / "a")))
    assert "“a (2)” and “a” are the same run folder, given twice." in said


def test_without_the_images_the_last_epochs_are_all_there_is(contest):
    said = contest(contestant("a", wrong_on(0)), contestant("b", RIGHT), dataset=None).words
    assert said[0] == "Test accuracy after the last epoch, best first: “b” 100.0%, “a” 96.7%."
    assert said[1].startswith("The test images could not be loaded again")
    assert said[1].endswith("a was trained on arrays.")
    assert "McNemar" not in " ".join(said)


def test_runs_without_a_training_are_compared_by_their_weights_alone(contest):
    said = words(contest(contestant("a", seconds=()), contestant("b", wrong_on(1), seconds=())))
    assert "“a” is better by 3.3 percentage points" in said
    assert "epoch" not in said
