"""The explanation of every kind of number: its terms add up to what NumPy computes."""

import numpy as np
import pytest

from tests.conftest import wait_until

EXPLANATIONS = """
async (direction) => {
  const numbers = [];
  store.set({direction});
  for (const {name, shape} of flowOf(store.state.graph)) {
    const count = product(shape);
    for (const index of new Set([Math.floor(count / 3), count - 1])) {
      chooseNumber(name, index);
      const title = `${nameOf(name, index)} =`;
      const heading = () => document.querySelector("#why-title").textContent;
      while (!heading().includes(title)) await new Promise((draw) => setTimeout(draw));
      const sums = [...document.querySelectorAll(".why .sum")].map((sum) => sum.innerText);
      const fits = document.documentElement.scrollWidth <= innerWidth && sums.every((sum) => sum.includes("✓"));
      numbers.push([name, index, Number(document.querySelector(".why .total").dataset.value), fits, sums]);
    }
  }
  return numbers;
}
"""


def explanations(tab, direction: str) -> list[tuple[str, int, float]]:
    """Return name, index and displayed sum of some numbers of each layer.

    All sums on screen agree with the engine, and fit the width of the screen.
    """
    numbers = tab.evaluate(EXPLANATIONS, direction)
    assert [number for number in numbers if not number[3]] == []
    return [(name, index, value) for name, index, value, *_ in numbers]


def displayed_image(tab, run) -> tuple[np.ndarray, np.ndarray]:
    """Return the image on screen, normalized as NumPy does it, (1, C, H, W), and its label, (1,)."""
    shape, pixels, label = tab.evaluate(
        "(({tensor, label}) => [tensor.shape, [...tensor.data], label])(store.state.image)"
    )
    image = np.array(pixels).reshape(shape).astype(np.uint8)
    return run.normalization.apply(image.transpose(0, 2, 3, 1), np.float64), np.array([label])


def test_explained_values_are_numpys(explore, photos_run) -> None:
    tab = explore(photos_run, 360)
    images, _ = displayed_image(tab, photos_run)
    network = photos_run.network
    expected = network.activations(images, network.tensor_names) | {"input": images}
    numbers = explanations(tab, "forward")
    kinds = {name.rpartition(".")[2] for name, *_ in numbers}
    assert kinds >= {"input", "bn1", "relu1", "conv1", "sum", "pool", "avgpool", "flatten", "dropout", "fc"}
    for name, index, value in numbers:
        array = expected[name.removesuffix(".sum")]  # nothing follows the sum of this block
        assert value == pytest.approx(array.reshape(-1)[index], rel=1e-9, abs=1e-12), (name, index)


def test_explained_gradients_agree_with_the_engine_in_every_layer(explore, photos_run) -> None:
    assert explanations(explore(photos_run, 360), "gradient")


def test_explained_gradients_are_numpys(explore, digits_run) -> None:
    tab = explore(digits_run)
    expected = digits_run.network.trace(*displayed_image(tab, digits_run)).activation_gradients
    for name, index, value in explanations(tab, "gradient"):
        if name != "input":  # NumPy keeps none
            assert value == pytest.approx(expected[name].reshape(-1)[index], rel=1e-9, abs=1e-12), (name, index)


def test_weight_gradient_is_the_sum_over_positions_and_images(explore, digits_run) -> None:
    tab = explore(digits_run)
    tab.evaluate("store.set({direction: 'gradient', weight: {key: 'layer1.0.conv2.weight', index: 0}})")
    tab.evaluate("chooseNumber('layer1.0.conv2', 0)")
    tab.get_by_text("16 images", exact=True).click()
    wait_until(tab, "store.state.trace.outputs.input.shape[0] === 16")
    displayed = tab.locator(".why .sum").last
    pixels = tab.evaluate(
        "[store.state.image, ...store.state.batch].map(({tensor, label}) => [[...tensor.data], label])"
    )
    images = np.array([data for data, _ in pixels], np.uint8).reshape(-1, 8, 8, 1)
    normalized = digits_run.normalization.apply(images, np.float64)
    _, gradients = digits_run.network.gradients(normalized, np.array([label for _, label in pixels]))
    value = gradients["layer1.0.conv2.weight"].reshape(-1)[0]
    assert float(displayed.locator(".total").get_attribute("data-value")) == pytest.approx(value, rel=1e-9)
    assert (
        "sum of 784 products" in tab.locator(".why").inner_text()
    )  # 49 of 64 positions; the corner of the kernel is outside for the others


def test_gradient_of_a_blocks_input_comes_by_two_paths(explore, digits_run) -> None:
    tab = explore(digits_run)
    tab.evaluate("store.set({direction: 'gradient'}); chooseNumber('relu', 200)")
    shortcut, body = tab.evaluate(
        "['shortcut', 'body'].map((path) => store.state.trace.pathGradients['layer1.0'][path][200])"
    )
    parts = tab.locator(".why .sum .parts").first.inner_text().replace("−", "-").split()
    numbers = [float(part) for part in parts if part.lstrip("-")[:1].isdigit()]
    assert numbers == pytest.approx([shortcut, body], rel=1e-3, abs=1e-6)


def test_bars_of_both_paths_have_one_scale(explore, digits_run) -> None:
    tab = explore(digits_run)
    tab.evaluate("""store.set({direction: 'gradient'}); chooseNumber('relu',
      indexOfLargest(store.state.trace.pathGradients['layer1.0'].shortcut))""")
    bars = tab.evaluate("""[...document.querySelector(".why .terms").querySelectorAll("tr:has(.bar)")].map((row) => [
      Number(row.lastElementChild.innerText.replace("−", "-").replace("−", "-")),
      row.querySelector("b").getBoundingClientRect().width, row.querySelector(".bar").getBoundingClientRect().left])""")
    assert len(bars) > 2
    largest, width, left = max(bars, key=lambda bar: abs(bar[0]))
    for value, length, start in bars:
        assert length == pytest.approx(width * abs(value / largest), abs=0.1)
        assert start == left


def test_sum_says_which_path_carries_the_gradient(explore, digits_run) -> None:
    tab = explore(digits_run)
    tab.evaluate("store.set({direction: 'gradient'}); chooseNumber('layer1.0.sum', 200)")
    sizes = tab.evaluate("""Object.fromEntries(Object.entries(store.state.trace.pathGradients['layer1.0'])
      .map(([path, values]) => [path, Math.hypot(...values)]))""")
    more, less = sorted(sizes, key=sizes.get, reverse=True)
    text = tab.locator(".why").inner_text()
    ratio = tab.evaluate("(ratio) => formatNumber(ratio, 3)", sizes[more] / sizes[less])
    assert f"The {more} carries {ratio} times as much as the {less}: " in text
    tab.evaluate("store.set({edits: {...NO_EDITS, skipsOff: new Set(['layer1.0'])}})")
    wait_until(tab, "document.querySelector('.why').innerText.includes('All of it comes through the body.')")


def test_flattened_number_has_its_place_in_the_map(explore, digits_run) -> None:
    tab = explore(digits_run)
    tab.evaluate("chooseLayer('fc')")
    terms = tab.locator(".why .terms th").all_inner_texts()
    name, place = terms[0].split("\n")[0].split(" = ")
    index = int(name.removeprefix("flatten[").rstrip("]"))
    channel, row, column = (int(number) for number in place.split("[")[1].split("]")[0].split(", "))
    assert (channel * 4 + row) * 4 + column == index
