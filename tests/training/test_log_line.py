import pytest

from glassnet.recipe import Recipe
from glassnet.training.log_line import describe_accuracy, describe_epoch

RECORD = {"epoch": 3, "loss": 0.6499, "train_accuracy": 0.977, "test_loss": 0.24512, "test_accuracy": 0.9644}
CONTAMINATED = {**RECORD, "test_loss": None, "test_accuracy": None, "contaminated": 2}
CONTAMINATED |= {"evaluated_loss": 0.25, "evaluated_accuracy": 0.99}
VALIDATED = {**RECORD, "validation_loss": 0.25, "validation_accuracy": 1.0}


@pytest.mark.parametrize(
    ("record", "recipe", "without", "text"),
    [
        (RECORD, Recipe(), "", "train loss 0.6499, accuracy 97.7%; test loss 0.2451, accuracy 96.4%"),
        (
            RECORD,
            Recipe(label_smoothing=0.1),
            "",
            "train loss 0.6499 (smoothed), accuracy 97.7%; test loss 0.2451, accuracy 96.4%",
        ),
        (
            RECORD,
            Recipe(class_weights="balanced"),
            "test",
            "train loss 0.6499 (weighted), accuracy 97.7%",
        ),
        (
            RECORD,
            Recipe(class_weights="balanced", label_smoothing=0.1),
            "test",
            "train loss 0.6499 (smoothed and weighted), accuracy 97.7%",
        ),
        (CONTAMINATED, Recipe(), "", "train loss 0.6499, accuracy 97.7%; evaluated loss 0.2500, accuracy 99.0%"),
        (VALIDATED, Recipe(), "test", "train loss 0.6499, accuracy 97.7%; validation loss 0.2500, accuracy 100.0%"),
    ],
)
def test_describe_epoch_says_which_loss(record: dict[str, float], recipe: Recipe, without: str, text: str) -> None:
    assert describe_epoch(record, recipe, without) == text


def test_describe_epoch_names_the_test_set_as_the_data_does() -> None:
    assert describe_epoch(RECORD, Recipe(), "train", "val") == "val loss 0.2451, accuracy 96.4%"


def test_describe_accuracy_calls_no_accuracy_on_training_images_a_test_accuracy() -> None:
    clean = {**RECORD, "contaminated": 0}
    assert describe_accuracy(clean) == "test accuracy 96.4%"
    assert describe_accuracy(clean, "val") == "val accuracy 96.4%"
    assert describe_accuracy(CONTAMINATED) == "evaluated accuracy 99.0% (2 of its images were trained on)"
    assert describe_accuracy({**CONTAMINATED, "contaminated": 1}).endswith("(1 of its images was trained on)")
