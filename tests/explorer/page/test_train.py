"""The panel that trains the network, in a real browser."""

from glassnet.explorer import write_explorer
from tests.conftest import wait_until

READY = "!store.state.training.isRunning && store.state.training.numbers !== null"


def open_panel(explore, run, width: int = 1280):
    tab = explore(run, width)
    tab.get_by_role("tab", name="Train").click()
    return tab


def test_run_gives_the_weights_of_the_python_run_and_says_so(explore, digits_run) -> None:
    tab = open_panel(explore, digits_run)
    tab.get_by_role("button", name="Run").click()
    wait_until(tab, "store.state.training.difference !== null")
    assert tab.evaluate("store.state.training.difference.difference") < 1e-12
    text = tab.get_by_role("tabpanel").inner_text()
    assert "Same as the Python run to 1" in text or "to the last bit" in text
    assert tab.evaluate("store.state.origin") == {"kind": "training", "settings": {}}
    assert tab.get_by_role("button", name="One epoch").is_disabled()


def test_difference_from_a_float32_run_is_said_with_its_cause(explore, digits_run) -> None:
    tab = open_panel(explore, digits_run)
    tab.evaluate("""store.replace({config: {...store.state.config,
      run: {...store.state.config.run, dtype: "float32", twin: "glassnet train digits"}}})""")
    said = tab.locator(".panel .sum")
    for difference, start, written in (
        (0.27, "The weights differ from those of the Python run", "0.27"),
        (5.3e-7, "Same as the Python run to 6 decimal places", "5.3e−7"),
    ):
        tab.evaluate("(difference) => setTraining({difference: {key: 'fc.bias', difference}})", difference)
        wait_until(tab, "document.querySelector('.panel .sum') !== null")
        assert said.inner_text().startswith(f"{start}: the largest difference of a weight is {written}, in fc.bias.")
        assert "The run computed in float32, the page in float64." in said.inner_text()
        assert said.inner_text().endswith("The same training in float64: glassnet train digits")


def test_other_settings_and_changes_by_hand_are_not_called_the_run(explore, digits_run) -> None:
    tab = open_panel(explore, digits_run)
    tab.evaluate("setSetting('batch_size', 64)")
    tab.get_by_role("button", name="Run").click()
    wait_until(tab, f"{READY} && store.state.training.records.main.length === 1")
    assert tab.evaluate("store.state.origin") == {"kind": "training", "settings": {"batch_size": 64}}
    tab.evaluate("setSetting('batch_size', 32)")
    tab.get_by_role("button", name="Reset").click()
    wait_until(tab, "store.state.training.isReset && store.state.training.numbers === null")
    tab.evaluate("toggleChannel('conv1', 0)")
    tab.evaluate("trainFor(Infinity)")  # to its end, when the page has compared the weights if it does
    assert tab.evaluate("store.state.training.records.main.length") == 1
    assert tab.evaluate("[store.state.training.difference, store.state.origin.kind]") == [None, "other"]


def test_one_step_shows_how_a_weight_changes(explore, digits_run) -> None:
    tab = open_panel(explore, digits_run)
    tab.evaluate("store.set({weight: {key: 'fc.weight', index: 3}})")
    tab.get_by_role("button", name="One step").first.click()
    wait_until(tab, f"{READY} && store.state.training.update !== null")
    update = tab.evaluate("store.state.training.update")
    assert update["key"] == "fc.weight"
    assert update["after"] == tab.evaluate("store.state.weights['fc.weight'].data[3]") != update["before"]
    shown = tab.evaluate("formatNumber(store.state.training.update.after, 8)")
    assert shown in tab.get_by_role("row", name="new weight").inner_text()
    change = tab.evaluate("formatNumber(store.state.training.update.after - store.state.training.update.before, 5)")
    assert change in tab.get_by_role("row", name="change").inner_text()


def test_twin_chosen_after_a_training_keeps_what_the_training_gave(explore, digits_run) -> None:
    tab = open_panel(explore, digits_run)
    tab.get_by_role("button", name="One step").first.click()
    wait_until(tab, f"{READY} && store.state.training.update !== null")
    kept = "[store.state.training.losses.main, store.state.weights['fc.weight'].data[3]]"
    before = tab.evaluate(kept)
    tab.get_by_label("Train its plain twin").check()
    assert tab.evaluate(kept) == before
    tab.get_by_role("button", name="One step").first.click()  # a new training, of both
    wait_until(tab, f"{READY} && store.state.training.losses.twin.length === 1")
    assert tab.evaluate("store.state.training.losses.main.length") == 1


def test_training_pauses_and_goes_on_with_another_learning_rate(explore, digits_run) -> None:
    tab = open_panel(explore, digits_run)
    tab.evaluate("setSetting('epochs', 400)")
    tab.get_by_role("button", name="Run").click()
    wait_until(tab, "store.state.training.records.main.length >= 1")
    tab.evaluate("setSetting('lr', 1e-6)")
    wait_until(tab, "store.state.training.numbers.lr <= 1e-6")
    tab.get_by_role("button", name="Pause").click()
    wait_until(tab, READY)
    epoch = tab.evaluate("store.state.training.numbers.epoch")
    tab.get_by_role("button", name="One step").first.click()
    wait_until(tab, f"{READY} && store.state.training.update !== null")
    assert epoch <= tab.evaluate("store.state.training.numbers.epoch") <= epoch + 1


def test_twins_train_from_the_same_weights(explore, digits_run) -> None:
    tab = open_panel(explore, digits_run, 390)
    tab.locator("summary").click()  # settings are folded, so that a narrow screen has buttons and the loss first
    tab.get_by_label("Train its plain twin").check()
    wait_until(tab, "store.state.training.hasTwin && store.state.training.isReset")
    tab.get_by_role("button", name="One step").first.click()
    wait_until(tab, f"{READY} && store.state.training.losses.twin.length === 1")
    main, twin = tab.evaluate("[store.state.training.norms.main, store.state.training.norms.twin]")
    assert main.keys() == twin.keys()
    assert main != twin
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390


def test_page_of_a_sample_trains_from_the_weights_of_the_run(explore, digits_run, tmp_path, monkeypatch) -> None:
    """Large data leave no room for seeds: training starts from the trained weights, on the test images."""
    monkeypatch.setattr("glassnet.explorer.images.MAX_PIXEL_BYTES", 0)
    path = tmp_path / "sample.html"
    write_explorer(digits_run, output=path)
    tab = open_panel(explore, path)
    assert "A training starts from the run's weights" in tab.get_by_role("tabpanel").inner_text()
    before = tab.evaluate("store.state.weights['fc.bias'].data[0]")
    tab.get_by_role("button", name="One step").first.click()
    wait_until(tab, f"{READY} || store.state.training.problem !== null")
    assert tab.evaluate("store.state.training.problem") is None
    assert tab.evaluate("store.state.training.numbers.size") == 8
    assert (
        tab.evaluate("store.state.weights['fc.bias'].data[0]")
        != before
        == digits_run.network.state_dict()["fc.bias"][0]
    )


def test_divergence_is_said_in_a_sentence(explore, digits_run) -> None:
    tab = open_panel(explore, digits_run)
    tab.evaluate("setSetting('lr', 1e200)")
    tab.get_by_role("button", name="Run").click()
    wait_until(tab, "store.state.training.problem !== null && !store.state.training.isRunning")
    assert "Training diverged in epoch 1" in tab.evaluate("document.querySelector('.problem').textContent")


def test_numbers_on_screen_add_up_while_the_network_trains(explore, digits_run) -> None:
    """What is shown was computed with weights of one moment, although they change all the time."""
    tab = open_panel(explore, digits_run)
    tab.evaluate("setSetting('epochs', 400)")
    tab.get_by_role("button", name="Run").click()
    wait_until(tab, "store.state.training.records.main.length >= 2")
    for _ in range(3):
        tab.evaluate("store.replace({batch: []})")
        assert "✗" not in tab.locator(".why").inner_text()
    tab.get_by_role("button", name="Pause").click()
    wait_until(tab, READY)


def test_networks_that_died_are_said_with_a_remedy(explore, digits_run) -> None:
    tab = open_panel(explore, digits_run)
    tab.get_by_label("Train its plain twin").check()
    wait_until(tab, "store.state.training.hasTwin && store.state.training.isReset")
    tab.evaluate("setSetting('lr', 30)")
    tab.get_by_role("button", name="One epoch").click()
    wait_until(tab, f"{READY} && store.state.training.records.twin.length === 1")
    text = tab.get_by_role("tabpanel").inner_text()
    assert "No gradient reaches the first layer of the residual and the plain network" in text
    assert "try a lower learning rate" in text
    assert "Gradient norm" not in text  # a logarithm cannot show zeros
    assert tab.get_by_role("img", name="Accuracy on the test images").locator("circle").count() == 2  # one epoch: dots


def test_training_says_what_becomes_of_changes_and_the_trained_network_comes_back(explore, digits_run) -> None:
    tab = open_panel(explore, digits_run)
    tab.evaluate("toggleSkip('layer1.0')")
    status = tab.locator(".panel p[role=status]")
    assert "A training starts from the initial weights of seed 3, without your changes." in status.inner_text()
    tab.get_by_role("button", name="One step").first.click()
    wait_until(tab, READY)
    assert "hold from the next step on" in status.inner_text()
    assert tab.get_by_role("button", name="Continue").is_enabled()
    tab.get_by_role("button", name="Restore the trained network").click()
    wait_until(tab, "store.state.origin.kind === 'trained'")
    trained = digits_run.network.state_dict()["fc.bias"][0]
    assert tab.evaluate("store.state.weights['fc.bias'].data[0]") == trained
    assert tab.get_by_role("button", name="Run").is_enabled()
