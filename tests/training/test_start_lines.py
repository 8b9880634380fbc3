import pytest

import glassnet as gn
from glassnet.recipe import Recipe
from glassnet.training.start_lines import few_steps, start_lines


def test_start_lines_name_changed_settings_and_remarks(digits: gn.Dataset) -> None:
    network = gn.build("tiny", threads=1)
    first, settings, data, *remarks = start_lines(network, digits, {"blocks": (1, 2), "lr": 0.1}, 0, ["a remark"])
    assert first == "on cpu, 1 thread"
    assert settings == "settings other than the defaults: blocks 1+2, lr 0.1"
    assert data.startswith("200 training and 450 test images")
    assert remarks == ["a remark"]


def test_start_lines_count_test_images_that_are_trained_on(digits: gn.Dataset) -> None:
    *_, last = start_lines(gn.build("tiny"), digits, {}, 7, [])
    assert last.startswith("7 of 450 test images are among the training images of this run or of the runs that its w")
    *_, last = start_lines(gn.build("tiny"), digits, {}, 1, [])
    assert last.startswith("1 of 450 test images is among ")


@pytest.mark.parametrize(
    ("preset", "named"), [("resnet20", ", or the recipe finetune"), ("resnet18", ""), ("custom", "")]
)
def test_few_steps_counts_them_and_names_the_recipe(preset: str, named: str) -> None:
    recipe = Recipe(batch_size=32, epochs=10)
    told = f"few steps for fine-tuning: 40 in all. Choose a smaller batch_size and more epochs{named}"
    assert few_steps(recipe, 100, preset) == [told]
    assert few_steps(recipe.replace(epochs=24), 100, preset) != []
    assert few_steps(recipe.replace(epochs=25), 100, preset) == []
