import dataclasses
from typing import Any

import pytest

import glassnet as gn
from glassnet.data import Split
from glassnet.explorer.images import PageImages
from glassnet.explorer.notes import describe_differences, is_repeatable
from glassnet.training import Model
from glassnet.training.config import RunConfig

FIVE = dict.fromkeys((3, 0, 1, 2, 4), 2)


@pytest.fixture(scope="module")
def whole(digits_data: gn.Dataset) -> PageImages:
    return PageImages(digits_data.train, digits_data.test, 450, 16.0, is_complete=True)


def notes(model: Model, images: PageImages, seeds: dict[int, int] = FIVE, **changes: dict[str, Any]) -> list[str]:
    """Return the notes of a float64 run with some fields of its configuration, recipe, ... changed."""
    config = RunConfig.parse(model.config, model.path).replace(dtype="float64")
    for part, fields in changes.items():
        config = config.replace(**(fields if part == "config" else {part: getattr(config, part).replace(**fields)}))
    return describe_differences(model, config, images, seeds)


def test_notes_of_a_float64_run_are_none(trained: Model, whole: PageImages) -> None:
    assert notes(trained, whole) == []
    recipe = {"ema": 0.9, "class_weights": "balanced", "optimizer": "adamw", "label_smoothing": 0.1, "shards": 1}
    assert notes(trained, whole, recipe=recipe) == []  # the page trains with all of these


def test_notes_of_a_float32_run_name_rounding(trained: Model, whole: PageImages) -> None:
    assert notes(trained, whole, config={"dtype": "float32"}) == [
        "The run computed in float32. The page computes in float64, so numbers differ in rounding.",
        "Rounding grows in a training: at the end of one, the page says how far its weights are from the run's.",
    ]


@pytest.mark.parametrize(
    ("part", "fields", "expected"),
    [
        ("recipe", {"augment": "flip"}, "The run trained on randomly changed images (augmentation). The page trains"),
        ("recipe", {"jitter": 0.1}, "The run trained on randomly changed images (augmentation). The page trains"),
        ("spec", {"dropout": 0.25}, "The run trained with dropout of 0.25. The page drops other numbers."),
        ("recipe", {"shards": 4}, "The run cut each batch into 4 parts (shards). The page computes it whole."),
        (
            "config",
            {"init": {"from": "runs/a"}},
            "The run started from the weights of another network. The page starts",
        ),
        ("config", {"freeze": "backbone"}, "The run trained the last layer alone. The page trains all layers."),
        (
            "data",
            {"validation": 130},
            "The run held out 130 images to choose an epoch. The page does not train on them.",
        ),
        (
            "recipe",
            {"epochs": 9},
            "The run is not finished: 2 of 9 epochs are recorded. A training here has all epochs.",
        ),
    ],
)
def test_notes_name_what_differs(
    trained: Model, whole: PageImages, part: str, fields: dict[str, Any], expected: str
) -> None:
    seeds = dict.fromkeys(FIVE, 9)
    (note,) = notes(trained, whole, seeds, **{part: fields})
    assert note.startswith(expected)


def test_notes_name_the_epoch_that_validation_chose(run: Model, whole: PageImages) -> None:
    for record, accuracy in zip(run.history, (0.9, 0.8), strict=True):
        record |= {"validation_accuracy": accuracy, "validation_loss": 1.0}
    assert notes(run, whole) == ["The run's weights are those after epoch 1, which validation chose."]


@pytest.mark.parametrize(
    ("seeds", "recipe", "expected"),
    [
        ({3: 2, 0: 2}, {}, "The page has 2 seeds instead of 5: initial weights and orders of 2 epochs take much room."),
        (
            {3: 2},
            {"validation_fraction": 0.1},
            "The page has one seed: with another one, other images would be held out.",
        ),
        (dict.fromkeys(FIVE, 1), {}, "The page has the order of the images in 1 of 2 epochs, and then repeats it."),
    ],
)
def test_notes_name_missing_seeds_and_orders(
    trained: Model, whole: PageImages, seeds: dict[int, int], recipe: dict[str, Any], expected: str
) -> None:
    assert notes(trained, whole, seeds, recipe=recipe) == [expected]


def test_notes_name_a_sample_and_contaminated_images(trained: Model, digits_data: gn.Dataset) -> None:
    test = Split(digits_data.train.images[:40], digits_data.train.labels[:40])
    sample = PageImages(test, test, 3000, 16.0, is_complete=False, is_other=True)
    other, partial, contaminated = notes(trained, sample, {})
    assert other == "The images are not those of the run: the page was written with other data."
    assert partial.startswith("The page has 40 of 3,000 test images, of which up to half are misclassified ones.")
    assert contaminated.startswith("40 of the 40 test images were trained on")


def test_notes_of_imported_weights_name_the_recipe(trained: Model, whole: PageImages) -> None:
    (note,) = notes(trained, whole, config={"recipe": None})
    assert note == "The weights were imported. The page trains with the default recipe of the preset."


@pytest.mark.parametrize(
    ("part", "fields", "expected"),
    [
        ("recipe", {"ema": 0.5, "shards": 1, "validation_fraction": 0.1}, True),
        ("recipe", {"rotate": 5.0}, False),
        ("recipe", {"shards": 2}, False),
        ("spec", {"dropout": 0.1}, False),
    ],
)
def test_is_repeatable_says_whether_train_makes_the_same(
    trained: Model, whole: PageImages, part: str, fields: dict[str, Any], expected: bool
) -> None:
    config = RunConfig.parse(trained.config, trained.path)
    changed = config.replace(**{part: getattr(config, part).replace(**fields)})
    assert is_repeatable(changed, whole) is expected
    assert not is_repeatable(changed, dataclasses.replace(whole, is_complete=False))
