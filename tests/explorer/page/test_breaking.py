"""The panel that plants a bug, in a real browser."""

import pytest

from tests.conftest import wait_until

BUGS = {
    "Lost skip gradient": ("conv1.weight", "layer1.0.conv1.weight"),
    "Forgotten mask": ("layer1.0.conv2.weight", "fc.bias"),
}


@pytest.mark.parametrize("title", BUGS)
def test_check_finds_the_bug_while_the_loss_falls(explore, digits_run, title: str) -> None:
    tab = explore(digits_run)
    tab.get_by_role("tab", name="Break").click()
    tab.get_by_text(title).click()
    tab.get_by_role("button", name="Plant, train and check").click()
    wait_until(tab, "store.state.breaking.rows.length > 0 && !store.state.breaking.isRunning")
    losses = [loss for _, loss in tab.evaluate("store.state.breaking.losses.broken")]
    assert losses[-1] < losses[0]
    wrong, right = BUGS[title]
    text = tab.get_by_role("tabpanel").inner_text()
    assert f"The gradient of {wrong} is wrong" in text
    assert f"and to {right} all is right" in text


def test_check_finds_a_loss_that_is_not_divided_by_the_number_of_images(explore, digits_run) -> None:
    tab = explore(digits_run)
    tab.get_by_role("tab", name="Break").click()
    tab.get_by_text("Missing mean of the loss").click()
    tab.get_by_role("button", name="Plant, train and check").click()
    wait_until(tab, "store.state.breaking.rows.length > 0 && !store.state.breaking.isRunning")
    text = tab.get_by_role("tabpanel").inner_text()
    key = tab.evaluate("store.state.breaking.rows[0].key")
    assert f"The gradient of {key} is wrong. Backward begins there" in text
    assert "The gradient is 4 times the difference." in " ".join(text.split())  # of 4 images
    losses = [loss for _, loss in tab.evaluate("store.state.breaking.losses.broken")]
    first, last = (tab.evaluate(f"formatNumber({loss!r})") for loss in (losses[0], losses[-1]))
    assert f"with it: {first} to {last}" in text
    failure = tab.evaluate("store.state.breaking.failure")
    assert failure is None or failure in text


def test_network_without_a_layer_cannot_have_its_bug(explore, digits_run) -> None:
    """The smallest network has no BatchNorm."""
    tab = explore(digits_run)
    tab.get_by_role("tab", name="Break").click()
    wait_until(tab, "store.state.breaking.bugs !== null")
    assert tab.evaluate("Object.keys(store.state.breaking.bugs)") == [
        "lost skip gradient",
        "flipped kernel",
        "missing mean of the loss",
        "forgotten mask",
    ]


def test_reveal_keeps_what_the_check_found(explore, digits_run) -> None:
    tab = explore(digits_run)
    tab.get_by_role("tab", name="Break").click()
    tab.get_by_text("A hidden one").click()
    tab.get_by_role("button", name="Plant, train and check").click()
    wait_until(tab, "store.state.breaking.rows.length > 0")
    first = tab.evaluate("store.state.breaking.rows[0]")
    wait_until(tab, "!store.state.breaking.isRunning")
    tab.get_by_text("Flipped kernel").click()
    tab.get_by_text("A hidden one").click()
    tab.get_by_role("button", name="Reveal").click()
    wait_until(tab, "!store.state.breaking.isRunning")
    assert tab.evaluate("store.state.breaking.rows[0]") == first
    keys = tab.evaluate("[...new Set(store.state.breaking.rows.map(({key}) => key))]")
    assert keys == tab.evaluate("Object.keys(store.state.weights).reverse()")
    panel = tab.get_by_role("tabpanel")
    assert tab.evaluate("store.state.breaking.bugs[store.state.breaking.bug].sentence") in panel.inner_text()
    assert panel.locator(".sum").count() == 1
