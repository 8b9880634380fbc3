"""Every study's page in a real browser: it opens offline, fits narrow and wide windows, and obeys the keyboard."""

import plotly.graph_objects as go
import pytest

import glassnet as gn
from glassnet.pages.page import Page
from glassnet.studies import (
    ablation,
    augmentation,
    convolution,
    degradation,
    gradient_flow,
    lr_range,
    parameters,
    sweep,
)
from glassnet.training import Model
from tests.conftest import wait_until, widen
from tests.studies.degradation.made_up import DEGRADED, made_up
from tests.studies.sweep.made_up import grid_study

RECIPE = gn.Recipe(batch_size=32)
AUGMENTED = gn.Recipe(augment="flip-crop", rotate=10.0, translate=0.1, jitter=0.4)


@pytest.fixture(scope="module")
def pages(digits: gn.Dataset, trained: Model) -> dict[str, Page]:
    flows = gradient_flow.run_study(digits, depths=(8, 14), steps=4, width=4)
    return {
        "ablation": ablation.build_page(ablation.run_study(trained, digits)),
        "augmentation": augmentation.build_page(augmentation.run_study(digits, AUGMENTED)),
        "convolution": convolution.build_page(convolution.run_study(model="resnet20")),
        "degradation": degradation.build_page(made_up(DEGRADED)),
        "gradient-flow": gradient_flow.build_page(flows),
        "lr-range": lr_range.build_page(lr_range.run_study("tiny", digits, RECIPE, steps=40)),
        "parameters": parameters.build_page(parameters.run_study("resnet50")),
        "sweep": sweep.build_page(grid_study()),
    }


@pytest.mark.parametrize("name", ["augmentation", "convolution", "gradient-flow", "lr-range", "parameters"])
def test_figures_fit_a_telephone(pages: dict[str, Page], name: str) -> None:
    """390 pixels wide, of which 16 on either side are margin: what is wider scrolls, and its last labels are cut."""
    figures = [block for section in pages[name].sections for block in section.blocks if isinstance(block, go.Figure)]
    assert figures
    assert max(figure.layout.meta["min_width"] for figure in figures) <= 390 - 2 * 16


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["ablation", "convolution", "degradation", "gradient-flow", "lr-range", "parameters", "sweep"]
)
def test_a_page_opens_offline_and_fits(opened, pages: dict[str, Page], name: str) -> None:  # type: ignore[no-untyped-def]
    tab = opened(pages[name], 400)
    assert tab.locator("figure").count() >= 1
    widen(tab, 1400)


@pytest.mark.slow
def test_the_keyboard_chooses_a_moment(opened, pages: dict[str, Page]) -> None:  # type: ignore[no-untyped-def]
    tab = opened(pages["gradient-flow"], 400)
    drawn = "document.querySelector('.plot').data[0].y[0]"
    before = tab.evaluate(drawn)
    button = tab.get_by_role("button", name="after 4 steps").first
    button.focus()
    tab.keyboard.press("Enter")
    assert button.get_attribute("aria-pressed") == "true"
    wait_until(tab, f"{drawn} !== {before}")


@pytest.mark.slow
def test_the_keyboard_unfolds_and_reads_the_code(opened, pages: dict[str, Page]) -> None:  # type: ignore[no-untyped-def]
    tab = opened(pages["convolution"], 400)
    assert not tab.locator("pre").is_visible()
    tab.get_by_text("The definition in Python").focus()
    tab.keyboard.press("Enter")
    assert tab.locator("pre").is_visible()
    assert "def convolution(" in tab.locator("pre").inner_text()
