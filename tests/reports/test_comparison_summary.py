import pytest

from glassnet.training.image_table import ImageRow, ImageTable
from tests.reports.runs_to_compare import DATA, RIGHT, fake_run, wrong_on


def text(comparison):
    return " ".join(comparison.summary)


def test_summary_of_two_runs_gives_counts_interval_and_test(compare_fakes):
    summary = compare_fakes(fake_run("a", wrong_on(*range(10))), fake_run("b", wrong_on(29))).summary
    assert summary[0] == "Test accuracy, best first: “b” 96.7% (29 of 30), “a” 66.7% (20 of 30)."
    # Bonett and Price: 11/32 − 2/32 ± 1.96 · √((13/32 − (9/32)²) / 32); McNemar: 2 · (1 + 11) / 2¹¹
    assert summary[1] == (
        "“b” classifies 10 images correctly that “a” misclassifies; the reverse holds for 1. Its accuracy is 30.0 "
        "percentage points higher (95% confidence interval 8.3 to 47.9; significant, McNemar's exact test, p = 0.012)."
    )


def test_summary_follows_the_numbers_not_the_order(compare_fakes):
    one, other = fake_run("a", wrong_on(*range(10))), fake_run("b", wrong_on(29))
    assert compare_fakes(one, other).summary[:2] == compare_fakes(other, one).summary[:2]
    swapped = compare_fakes(fake_run("a", wrong_on(29)), fake_run("b", wrong_on(*range(10))))
    assert swapped.summary[1].startswith("“a” classifies 10 images correctly that “b” misclassifies")


def test_summary_of_a_difference_that_is_not_significant(compare_fakes):
    summary = compare_fakes(fake_run("a", wrong_on(0, 1, 2)), fake_run("b", wrong_on(*range(3, 8)))).summary
    assert summary[1].startswith("“a” classifies 5 images correctly that “b” misclassifies; the reverse holds for 3.")
    assert summary[1].endswith("not significant, McNemar's exact test, p = 0.73).")  # 2 · (1 + 8 + 28 + 56) / 2⁸


def test_summary_says_that_five_images_are_too_few(compare_fakes):
    few = compare_fakes(fake_run("a"), fake_run("b", wrong_on(*range(5)))).summary[1]
    assert "p = 0.062" in few
    assert few.endswith("With fewer than 6 such images the test is never significant.")
    enough = compare_fakes(fake_run("a"), fake_run("b", wrong_on(*range(6)))).summary[1]
    assert enough.endswith("; significant, McNemar's exact test, p = 0.031).")


def test_summary_of_equal_accuracies(compare_fakes):
    summary = compare_fakes(fake_run("a", wrong_on(0, 1)), fake_run("b", wrong_on(4, 5))).summary
    assert summary[0] == "Test accuracy, best first: “a” 93.3% (28 of 30), “b” 93.3% (28 of 30)."
    assert summary[1] == "Each run classifies 2 images correctly that the other misclassifies."


def test_summary_of_equal_predictions(compare_fakes):
    summary = compare_fakes(fake_run("a", wrong_on(0)), fake_run("b", wrong_on(0))).summary
    assert summary[1] == "Both runs classify the same images correctly."


def test_summary_of_several_runs_compares_the_best_with_each(compare_fakes):
    runs = [fake_run("far", wrong_on(*range(15))), fake_run("close", wrong_on(0)), fake_run("best")]
    summary = compare_fakes(*runs).summary
    assert summary[0] == (
        "Test accuracy, best first: “best” 100.0% (30 of 30), “close” 96.7% (29 of 30), “far” 50.0% (15 of 30)."
    )
    assert summary[1] == (
        "The accuracy of “best” is significantly higher than that of “far”, and not significantly different from that "
        "of “close” (McNemar's exact test at 5%, with Holm's correction for 3 pairs)."
    )


def test_summary_corrects_for_the_number_of_pairs(compare_fakes):
    """Six images to none are enough for two runs (p = 0.031), but not for one pair of six."""
    runs = [fake_run("a"), fake_run("b", wrong_on(*range(6)))]
    assert "; significant" in compare_fakes(*runs).summary[1]
    assert "significantly higher" not in compare_fakes(*runs, fake_run("c"), fake_run("d")).summary[1]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "All recorded settings are the same."),
        ({"machine": "Plan 9"}, "All settings but the versions are the same."),
        ({"seed": 7, "recipe": {"seed": 7}}, "The runs differ only in the seed."),
        ({"engine": "torch"}, "The runs differ only in engine. They start from the same weights and see the same"),
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
def test_summary_names_the_settings_that_differ(compare_fakes, changes, sentence):
    assert sentence in text(compare_fakes(fake_run("a"), fake_run("b", **changes)))


def test_summary_names_the_fastest_run(compare_fakes):
    two = text(compare_fakes(fake_run("a", seconds=(9.0, 2.0, 2.0)), fake_run("b", seconds=(0.5, 0.5, 0.5))))
    assert "“b” is the faster, with 500 ms per epoch (median); “a” takes 2.0 s, 4.0 times as long." in two
    assert two.endswith("No recorded setting differs, so other work on the machine may be the reason.")
    seeds = text(compare_fakes(fake_run("a", seed=1), fake_run("b", seconds=(9.0,), seed=2)))
    assert "machine" not in seeds
    alike = text(compare_fakes(fake_run("a", seconds=(1.0,)), fake_run("b", seconds=(1.05,))))
    assert "Both take about 1.0 s per epoch." in alike
    runs = [fake_run(name, seconds=(float(number),)) for number, name in enumerate("abc", start=1)]
    assert "“a” is the fastest, with 1.0 s per epoch (median); “c” takes 3.0 s" in text(compare_fakes(*runs))


def test_summary_says_that_the_machines_differ(compare_fakes):
    summary = text(compare_fakes(fake_run("a"), fake_run("b", seconds=(5.0,), machine="Plan 9")))
    assert "The runs used different machines." in summary


def test_summary_compares_the_parameters(compare_fakes):
    assert "Both have 1,000 parameters." in text(compare_fakes(fake_run("a"), fake_run("b")))
    summary = text(compare_fakes(fake_run("a", parameters=1500), fake_run("b")))
    assert "“a” has 1,500 parameters, 1.5 times as many as “b” (1,000)." in summary


def test_summary_names_an_unfinished_run(compare_fakes):
    summary = text(compare_fakes(fake_run("a", seconds=(1.0,)), fake_run("b")))
    assert "“a” is not finished: 1 of 2 epochs is recorded." in summary
    assert "“b” is not finished" not in summary


def test_summary_names_a_run_that_stopped_early(compare_fakes):
    stopped = fake_run("a", seconds=(1.0,))
    stopped.history[-1]["epochs_since_best"] = stopped.config["recipe"]["patience"] = 1
    assert "“a” stopped early, after 1 of 2 epochs: " in text(compare_fakes(stopped, fake_run("b")))


def test_summary_names_the_weights_that_validation_selected(compare_fakes):
    summary = text(compare_fakes(fake_run("a", recipe={"validation_fraction": 0.1}), fake_run("b")))
    assert "The weights of “a” were selected on its validation set." in summary


def test_summary_says_that_a_folder_was_given_twice(compare_fakes, tmp_path):
    summary = text(compare_fakes(fake_run(tmp_path / "a"), fake_run(tmp_path / "x" / ".." / "a")))
    assert "“a (2)” and “a” are the same run folder." in summary


def test_summary_without_the_images_uses_the_last_epochs(compare_fakes):
    summary = compare_fakes(fake_run("a", wrong_on(0)), fake_run("b", RIGHT), dataset=None).summary
    assert summary[0] == "Test accuracy after the last epoch, best first: “b” 100.0%, “a” 96.7%."
    assert summary[1].startswith("The test images could not be loaded")
    assert summary[1].endswith("a was trained on arrays.")
    assert "McNemar" not in " ".join(summary)


def test_summary_of_runs_without_a_record_uses_their_weights(compare_fakes):
    summary = text(compare_fakes(fake_run("a", seconds=()), fake_run("b", wrong_on(1), seconds=())))
    assert "Its accuracy is 3.3 percentage points higher" in summary
    assert "epoch" not in summary


def test_summary_calls_no_accuracy_on_training_images_a_test_accuracy(compare_fakes):
    trained_on = fake_run("a")
    trained_on.images = ImageTable(
        tuple(ImageRow("train", "cat", "", bytes(row).hex()) for row in DATA.test.hashes[:5])
    )
    trained_on.name_test_set = lambda data=None: "evaluated"
    summary = compare_fakes(trained_on, fake_run("b", wrong_on(1))).summary
    assert summary[0].startswith("Evaluated accuracy, best first: “a” 100.0%")
    assert (
        "“a”, or a run that its weights come from, was trained on 5 of the images, so its accuracy on them is no test "
        "accuracy." in summary
    )
    assert "Evaluated accuracy, best first" not in text(compare_fakes(fake_run("a"), fake_run("b")))
