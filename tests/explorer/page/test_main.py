"""The live page as a whole: keyboard, screen readers, narrow screens, both schemes, runs that need a word."""

import pytest

from glassnet.explorer import write_explorer
from tests.conftest import faint_texts, wait_until


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_readable_and_fits_a_narrow_screen(explore, digits_run, scheme: str) -> None:
    tab = explore(digits_run, 360, scheme)
    for direction in ("forward", "gradient"):
        for panel in tab.evaluate("PANELS.map(({key}) => key)"):
            tab.evaluate("([direction, panel]) => store.set({direction, panel})", [direction, panel])
            wait_until(tab, f"document.querySelector('[role=tab][aria-selected=true]').id === 'tab-{panel}'")
            assert faint_texts(tab) == [], (direction, panel)
            assert tab.evaluate("document.documentElement.scrollWidth") <= 360, (direction, panel)


def test_click_on_a_map_explains_that_number(explore, digits_run) -> None:
    tab = explore(digits_run)
    tab.locator(".box[data-name='layer1.0.sum']").click()
    canvas = tab.locator(".zoomed canvas")
    cell = canvas.bounding_box()["width"] / 8
    canvas.click(position={"x": 5.5 * cell, "y": 2.5 * cell})
    channel = tab.evaluate("store.state.channel")
    tab.mouse.move(0, 0)
    assert tab.locator("#why-title").inner_text().startswith(f"Why is layer1.0.sum[{channel}, 2, 5] = ")


@pytest.mark.parametrize("width", [360, 1280])
def test_class_names_stay_on_one_line(explore, photos_run, width: int) -> None:
    tab = explore(photos_run, width)
    tab.evaluate("""store.replace({config: {...store.state.config, classes: ["cat", "green-square", "n".repeat(60)]},
      trace: {...store.state.trace}})""")
    wait_until(tab, "document.querySelector('.prediction').innerText.includes('green-square')")
    low, hyphen, long = tab.evaluate(
        "[...document.querySelectorAll('.prediction th')].map((name) => name.offsetHeight)"
    )
    assert low == hyphen < long  # a name without end is broken
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_hover_explains_without_choosing(explore, digits_run) -> None:
    tab = explore(digits_run)
    chosen = tab.locator("#why-title").inner_text()
    canvas = tab.locator(".zoomed canvas")
    cell = canvas.bounding_box()["width"] / 8
    canvas.hover(position={"x": 0.5 * cell, "y": 6.5 * cell})
    wait_until(tab, "document.querySelector('#why-title').innerText.includes(', 6, 0] =')")
    tab.mouse.move(0, 0)
    wait_until(tab, f"document.querySelector('#why-title').innerText === {chosen!r}")


def test_keyboard_reaches_layers_and_numbers(explore, digits_run) -> None:
    tab = explore(digits_run)
    tab.locator(".box[data-name=conv1]").focus()
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowRight")
    assert tab.evaluate("[store.state.layer, document.activeElement.dataset.name]") == ["layer1.0.conv1"] * 2
    tab.keyboard.press("Tab")
    tab.keyboard.press("Home")
    row, column = tab.evaluate("store.state.pixel")
    tab.keyboard.press("ArrowUp" if row else "ArrowDown")
    tab.keyboard.press("ArrowLeft" if column else "ArrowRight")
    row, column = (row - 1 if row else 1), (column - 1 if column else 1)
    assert tab.evaluate("store.state.pixel") == [row, column]
    value = tab.evaluate("formatNumber(valuesOf(store.state.layer)[chosenNumber(store.state)])")
    channel = tab.evaluate("store.state.channel")
    assert tab.locator("#announcement").inner_text() == f"channel {channel}, row {row}, column {column}: {value}"


def test_tabs_follow_the_arrow_keys(explore, digits_run) -> None:
    tab = explore(digits_run)
    panels = tab.evaluate("PANELS.map(({key}) => key)")
    tab.locator("#tab-look").focus()
    tab.keyboard.press("ArrowLeft")
    assert tab.evaluate("document.activeElement.id") == f"tab-{panels[-1]}"


def test_page_without_images_starts_with_a_blank_one(explore, photos_run, tmp_path) -> None:
    write_explorer(photos_run, output=tmp_path / "page.html")  # arrays cannot be loaded again
    tab = explore(tmp_path / "page.html")
    text = tab.locator("main").inner_text()
    assert "The page has no images of the run." in text
    assert "Nothing to classify yet" in text
    for panel in ("Train", "Break"):
        tab.get_by_role("tab", name=panel).click()
        text = tab.get_by_role("tabpanel").inner_text()
        assert text.startswith("This needs labelled images of the run's data, and the page has none."), panel
        assert tab.get_by_role("tabpanel").get_by_role("button").count() == 0
    assert tab.evaluate("store.state.trace.outputs.input.shape") == [1, 3, 16, 24]


def test_network_with_other_layers_takes_the_place_of_the_first(explore, digits_run) -> None:
    tab = explore(digits_run)
    tab.evaluate("store.set({direction: 'gradient'}); chooseLayer('layer1.0.sum')")
    variants = tab.evaluate("store.state.config.variants.map(({skip, blocks, norm}) => [skip, blocks[0], norm])")
    for variant in ([False, 1, "none"], [True, 2, "batch"], [True, 1, "none"]):
        place = variants.index(variant)
        tab.evaluate(f"chooseNetwork({{variant: {place}, seed: store.state.config.seeds[0], weights: 'initial'}})")
        wait_until(tab, f"store.state.trace.of.graph === store.state.config.variants[{place}].graph")
        wait_until(
            tab, "document.querySelector('#why-title').innerText.includes(nameOf(store.state.layer, 0).split('[')[0])"
        )
        has_sum = tab.locator(".box[data-name='layer1.0.sum']").count() == 1
        assert has_sum == variant[0]
        assert tab.evaluate("store.state.layer") == "conv1"
