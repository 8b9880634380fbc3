import pytest

import glassnet as gn
from glassnet.pages.page import render
from glassnet.studies.augmentation import build_page, run_study

RECIPES = {
    "everything": (gn.Recipe(augment="flip-crop", rotate=20.0, translate=0.2, jitter=0.3), 5),
    "boxes": (gn.Recipe(augment="resized-crop"), 1),
    "rotation": (gn.Recipe(rotate=20.0), 1),
}


@pytest.mark.parametrize("name", RECIPES)
def test_build_page_shows_each_image_and_its_numbers(digits: gn.Dataset, name: str) -> None:
    recipe, n_lines = RECIPES[name]
    study = run_study(digits, recipe, n_images=3, n_epochs=2)
    page = build_page(study)
    figure, table = page.sections[0].blocks[1:]
    (texts,) = (trace.text for trace in figure.select_traces({"mode": "text"}))
    assert len(texts) == 3 * 3
    assert {text.count("<br>") for text in texts} == {n_lines}
    assert [text.split("<br>")[0] for text in texts[:3]] == ["0", "epoch 1", "epoch 2"]
    assert len(table.rows) == 3 * 2
    assert "Augmentation of digits" in render(page)


def test_build_page_shows_directions_as_arrows(digits: gn.Dataset) -> None:
    study = run_study(digits, gn.Recipe(augment="crop"), n_images=4, n_epochs=3)
    figure = build_page(study).sections[0].blocks[1]
    (texts,) = (trace.text for trace in figure.select_traces({"mode": "text"}))
    for number, image in enumerate(study.images):
        for epoch, draw in enumerate(image.draws, start=1):
            down, right = draw["crop"]["down"], draw["crop"]["right"]
            expected = f"epoch {epoch}<br>{'↑' if down < 0 else '↓'}{abs(down)} {'←' if right < 0 else '→'}{abs(right)}"
            assert texts[number * 4 + epoch] == expected
