"""Changes by hand on the live page: switches and numbers, what they do, and how they are taken back."""

from tests.conftest import wait_until

SETTLED = "!tracer.busy && !tracer.stale"


def open_change(explore, run):
    tab = explore(run)
    tab.click("#tab-change")
    wait_until(tab, "document.querySelector('.buttons') !== null")
    return tab


def listed(tab) -> list[str]:
    return tab.locator(".changes span").all_inner_texts()


def logits(tab) -> list[float]:
    wait_until(tab, SETTLED)
    return tab.evaluate("[...store.state.trace.logits]")


def test_changes_are_listed_undone_and_taken_back(explore, digits_run) -> None:
    tab = open_change(explore, digits_run)
    before = logits(tab)
    seen = [before]
    tab.get_by_label("layer1.0", exact=True).click()
    seen.append(logits(tab))
    tab.get_by_label("channel index 1 of conv1", exact=True).click()
    seen.append(logits(tab))
    number = tab.locator("#panel input[type=number]")
    number.fill("16")
    number.fill("12.5")  # in a row: one step
    seen.append(logits(tab))
    tab.locator("#panel select").nth(1).select_option("layer1.0.conv2.weight")
    number.fill("-3")
    seen.append(logits(tab))
    assert [text.partition(":")[0] for text in listed(tab)] == [
        "Skip connection of layer1.0",
        "Channel index 1 of conv1",
        "layer1.0.conv2.weight[0, 0, 0, 0]",
        "pixels[0, 0, 0]",
    ]
    assert listed(tab)[-1] == "pixels[0, 0, 0]: 0 → 12.5"
    assert len({tuple(values) for values in seen}) == len(seen)
    for expected in reversed(seen[:-1]):
        tab.get_by_text("Undo", exact=True).click()
        assert logits(tab) == expected
    for expected in seen[1:]:
        tab.get_by_text("Redo", exact=True).click()
        assert logits(tab) == expected
    tab.get_by_label("Take back: Channel index 1 of conv1: muted").click()
    assert len(listed(tab)) == 3
    tab.get_by_label("layer1.0", exact=True).click()  # on again
    assert len(listed(tab)) == 2
    tab.get_by_text("Take all back").click()
    assert listed(tab) == []
    assert logits(tab) == before


def test_effect_is_the_accuracy_of_python(explore, digits_run) -> None:
    tab = open_change(explore, digits_run)
    data = digits_run.load_dataset()
    network = digits_run.network
    counts = [int((digits_run.outcome(data).predicted == data.test.labels).sum())]
    weights = network.state_dict()
    weights["fc.bias"][3] = 2.0
    weights["conv1.weight"][1] = weights["conv1.bias"][1] = 0  # nothing but the muted channel's numbers
    original = network.state_dict()
    network.load_state_dict(weights)
    counts.append(int((digits_run.outcome(data).predicted == data.test.labels).sum()))
    network.load_state_dict(original)
    tab.evaluate("toggleChannel('conv1', 1); setNumber('fc.bias', 3, 2)")
    tab.get_by_text("Measure test accuracy").click()
    wait_until(tab, "document.querySelector('#panel [aria-live]').textContent.includes('before')")
    text = tab.inner_text("#panel [aria-live]")
    total = len(data.test.labels)
    assert f"({counts[0]} of {total}) before" in text
    assert f"({counts[1]} of {total}) now" in text
    assert counts[0] != counts[1]


def test_edits_of_a_number_around_another_change_are_undone_apart(explore, digits_run) -> None:
    tab = open_change(explore, digits_run)
    tab.evaluate("setNumber('fc.bias', 0, 1); toggleSkip('layer1.0'); setNumber('fc.bias', 0, 2); store.undo()")
    assert [text.rpartition(" ")[2] for text in listed(tab)] == ["off", "1"]


def test_numbers_that_are_not_allowed_are_refused_in_words(explore, digits_run) -> None:
    tab = open_change(explore, digits_run)
    number = tab.locator("#panel input[type=number]")
    for text, received in (("-99", "-99"), ("17", "17"), ("", "none")):
        number.fill(text)
        number.blur()
        expected = f"pixels[0, 0, 0] must be a number from 0 to 16. Got {received}."
        wait_until(tab, f"document.querySelector('[role=alert]')?.textContent === '{expected}'")
    number.fill("16")
    wait_until(tab, "document.querySelector('[role=alert]') === null")
    assert listed(tab) == ["pixels[0, 0, 0]: 0 → 16"]


def test_keys_undo_and_redo_changes(explore, digits_run) -> None:
    tab = open_change(explore, digits_run)
    tab.get_by_label("layer1.0", exact=True).click()
    assert len(listed(tab)) == 1
    for key, count in (("Control+z", 0), ("Control+y", 1), ("Control+z", 0), ("Control+Shift+z", 1)):
        tab.keyboard.press(key)
        wait_until(tab, f"listChanges().length === {count}")
