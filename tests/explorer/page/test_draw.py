"""Images that are drawn, opened or chosen on the live page."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.conftest import wait_until
from tests.data.images.drawn_digits import write


def open_draw(explore, run):
    tab = explore(run)
    tab.click("#tab-draw")
    wait_until(tab, "document.querySelectorAll('.images li').length > 0")
    return tab


def open_file(tab, name: str, data: bytes) -> None:
    tab.set_input_files("input[type=file]", {"name": name, "mimeType": "image/png", "buffer": data})


def seen_pixels(tab) -> np.ndarray:
    """Return what the network sees as fractions of white, (H, W, C)."""
    shape, data, scale = tab.evaluate(
        "(({image: {tensor}, config}) => [tensor.shape, [...tensor.data], config.normalization.scale])(store.state)"
    )
    return np.array(data).reshape(shape)[0].transpose(1, 2, 0) / scale


def test_image_files_give_the_prediction_of_python(explore, digits_run, photos_run, tmp_path) -> None:
    colours = np.random.default_rng(1).integers(0, 256, (70, 90, 3), np.uint8)
    cases = [(digits_run, write(3, paper="#b0b0b0", ink="#204060")), (photos_run, Image.fromarray(colours))]
    for run, image in cases:
        image.save(tmp_path / "file.png")
        expected = run.predict(tmp_path / "file.png", top=10)[0]
        tab = open_draw(explore, run)
        open_file(tab, "file.png", (tmp_path / "file.png").read_bytes())
        wait_until(tab, "store.state.image.title === 'file.png' && !tracer.busy && !tracer.stale")
        assert seen_pixels(tab) == pytest.approx(expected.pixels, abs=1e-7)
        assert expected.preprocessing in (None, tab.evaluate("store.state.image.steps"))
        probabilities = tab.evaluate("[...store.state.trace.probabilities]")
        assert dict(zip(run.classes, probabilities, strict=True)) == pytest.approx(dict(expected.top), abs=1e-9)


def test_transparent_files_with_white_ink_are_read(explore, digits_run) -> None:
    ink = np.asarray(write(5).convert("L"))
    image = Image.merge("RGBA", [Image.new("L", ink.T.shape, "white")] * 3 + [Image.fromarray(255 - ink)])
    file = io.BytesIO()
    image.save(file, "PNG")
    tab = open_draw(explore, digits_run)
    open_file(tab, "white.png", file.getvalue())
    wait_until(tab, "store.state.image.title === 'white.png'")
    assert tab.evaluate("store.state.image.problem") is None
    assert tab.evaluate("store.state.image.steps").startswith("light ink")


def test_unreadable_file_is_one_sentence(explore, digits_run) -> None:
    tab = explore(digits_run)
    tab.click("#tab-change")
    tab.evaluate(
        """const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File(["no image"], "note.png", {type: "image/png"}));
        document.body.dispatchEvent(new DragEvent("drop", {dataTransfer, bubbles: true}))"""
    )
    wait_until(tab, "document.querySelector('[role=alert]') !== null")
    expected = "note.png must be an image that this browser can read. Got 8 bytes that it cannot decode."
    assert tab.inner_text("#panel [role=alert]") == expected  # beside the button that opens files
    assert tab.evaluate("store.state.image.title") == "test image 0"
    tab.evaluate("store.set({image: dataImage('test', 1)})")
    wait_until(tab, "document.querySelector('[role=alert]') === null")


def test_drawing_by_mouse_and_by_keyboard(explore, digits_run) -> None:
    tab = open_draw(explore, digits_run)
    tab.locator(".field").scroll_into_view_if_needed()
    box = tab.locator(".field").bounding_box()
    for number, (x, y) in enumerate([(0.3, 0.2), (0.7, 0.2), (0.45, 0.85)]):
        tab.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=3)
        if not number:
            tab.mouse.down()
    tab.mouse.up()
    wait_until(tab, "store.state.image.title === 'drawn digit' && !tracer.busy && !tracer.stale")
    seven = seen_pixels(tab)
    assert seven[0, 1:7].min() > 0.5  # the bar of a seven
    assert seven[4:, 5:].max() < 0.2
    assert tab.evaluate("store.state.trace.probabilities.length") == 10
    tab.get_by_text("Undo stroke").click()
    assert tab.evaluate("store.state.image.problem") == "no ink was found"
    wait_until(tab, "!document.body.innerText.includes('Predicted class')")  # of an empty field
    tab.focus(".field")
    for key in (" ", *["ArrowDown"] * 9, " ", "ArrowLeft"):
        tab.keyboard.press(key)
    wait_until(tab, "store.state.image.tensor.data.filter((value) => value > 8).length >= 16")
    assert tab.evaluate("drawing.strokes.length") == 1


def test_the_page_does_not_move_under_the_pen_that_begins_a_stroke(explore, digits_run) -> None:
    tab = open_draw(explore, digits_run)
    box = tab.locator(".field").bounding_box()
    tab.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
    tab.mouse.down()
    assert tab.evaluate("[store.state.image.title, drawing.strokes.length]") == ["test image 0", 1]
    assert tab.locator(".field").bounding_box() == box
    tab.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.6 * box["height"], steps=3)
    tab.mouse.up()
    wait_until(tab, "store.state.image.title === 'drawn digit'")
    tab.evaluate("store.undo()")
    wait_until(tab, "store.state.image.title === 'test image 0'")  # a stroke is one step to undo


def test_images_of_the_run_come_with_errors_first(explore, digits_run) -> None:
    tab = open_draw(explore, digits_run)
    wait_until(tab, "document.querySelector('.images .wrong') !== null")
    data = digits_run.load_dataset()
    outcome = digits_run.outcome(data)
    wrong = np.flatnonzero(outcome.predicted != outcome.labels)
    titles = [f"{outcome.labels[index]} → {outcome.predicted[index]}" for index in wrong]
    shown = [item for item in tab.locator(".images span").all_inner_texts() if "→" in item]
    assert shown == titles[: len(shown)]
    assert shown
    tab.locator("#panel select").select_option(label="3")
    wait_until(tab, "[...document.querySelectorAll('.images span')].every((item) => item.textContent.startsWith('3'))")
    assert tab.locator(".images li").count() == min(40, (outcome.labels == 3).sum())
    tab.locator("#panel select").select_option(label="all")
    wait_until(tab, "document.querySelectorAll('.images li').length === 40")
    tab.locator(".images button").first.click()
    assert tab.evaluate("[store.state.image.split, store.state.image.index]") == ["test", int(wrong[0])]
    assert np.array_equal(np.rint(16 * seen_pixels(tab)), data.test.images[wrong[0]])
