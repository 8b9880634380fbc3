"""Python that the live page writes: it runs, and computes the numbers on screen."""

import contextlib
import io
import json
import re

import pytest

from tests.conftest import wait_until

NUMBERS = "[[...store.state.trace.logits].slice(0, store.state.config.classes.length), shownNumber()]"


def open_share(explore, run):
    tab = explore(run)
    tab.click("#tab-share")
    wait_until(tab, "document.querySelector('.code') !== null")
    tab.evaluate("window.shownNumber = () => valuesOf(store.state.layer)[chosenNumber(store.state)]")
    return tab


def run_shared(tab) -> tuple[str, dict]:
    """Run the page's Python; return what it printed, and its variables."""
    wait_until(tab, "!tracer.busy && !tracer.stale && document.querySelector('.code').textContent === stateInPython()")
    variables: dict = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(tab.inner_text(".code"), variables)
    return printed.getvalue(), variables


def check_shared(tab) -> str:
    """Check that the page's Python gives its logits and the chosen number; return what it printed last."""
    printed, variables = run_shared(tab)
    logits, value = tab.evaluate(NUMBERS)
    assert variables["logits"][0] == pytest.approx(logits, rel=1e-12, abs=1e-12)
    last = printed.splitlines()[-1]
    assert float(re.split(r"= ", last)[-1]) == pytest.approx(value, rel=1e-9, abs=1e-12)
    return last


def test_python_of_a_changed_network_and_a_changed_image(explore, digits_run) -> None:
    tab = open_share(explore, digits_run)
    assert check_shared(tab).startswith("conv1[0, ")
    tab.evaluate(
        """toggleSkip('layer1.0'); toggleChannel('conv1', 1); toggleChannel('relu', 2); toggleChannel('relu', 4);
        setNumber('layer1.0.conv2.weight', 13, -3); setNumber('fc.bias', 0, 0.1); setNumber('pixels', 3, 11.3);
        chooseLayer('layer1.0.relu')"""
    )
    assert check_shared(tab).startswith("layer1.0.relu[0, ")
    tab.evaluate("store.set({edits: NO_EDITS, direction: 'gradient'}); chooseLayer('layer1.0.conv1')")
    assert check_shared(tab).startswith("gradient of layer1.0.conv1[0, ")


def test_python_of_colour_images(explore, photos_run) -> None:
    tab = open_share(explore, photos_run)
    tab.evaluate("setNumber('pixels', 500, 77); toggleSkip('layer2.0'); chooseLayer('layer2.0.conv2')")
    check_shared(tab)


def test_python_of_other_networks(explore, digits_run, tmp_path, monkeypatch) -> None:
    tab = open_share(explore, digits_run)
    variant = tab.evaluate("store.state.config.variants.findIndex(({skip}) => !skip)")
    assert variant > 0
    seed = tab.evaluate("store.state.config.seeds[1]")
    tab.evaluate(f"chooseNetwork({{variant: {variant}, seed: {seed}, weights: 'initial'}})")
    check_shared(tab)
    assert f"replace(skip=False), seed={seed}" in tab.inner_text(".code")
    tab.evaluate("session.call('train', {steps: 3}).then(() => refreshWeights())")
    wait_until(tab, "store.state.origin.kind === 'other'")
    with tab.expect_download() as download:
        tab.get_by_text("Save weights").click()
    download.value.save_as(tmp_path / "weights.safetensors")
    monkeypatch.chdir(tmp_path)
    check_shared(tab)


def test_python_of_a_training_on_the_page(explore, digits_run, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    tab = explore(digits_run)
    tab.click("#tab-train")
    tab.evaluate("resetTraining({variant: store.state.config.variants.findIndex(({skip}) => !skip), seed: 1})")
    wait_until(tab, "store.state.origin.kind === 'initial' && store.state.training.isReset")
    tab.evaluate("setSetting('lr', 0.03); setSetting('epochs', 3); trainFor('epoch')")
    wait_until(tab, "store.state.training.records.main.length === 1 && !store.state.training.isRunning")
    tab.click("#tab-share")
    tab.evaluate("window.shownNumber = () => valuesOf(store.state.layer)[chosenNumber(store.state)]")
    wait_until(tab, "store.state.origin.kind === 'training'")
    check_shared(tab)
    assert all(text in tab.inner_text(".code") for text in ("lr=0.03", "epochs=3", "stop_after_epoch=1", "seed=1"))
    tab.evaluate("setSetting('lr', 0.01); trainFor(1)")
    wait_until(tab, "store.state.origin.kind === 'other'")
    assert "gn.load_weights" in tab.inner_text(".code")


def test_pictures_are_saved_as_svg_and_png(explore, digits_run, tmp_path) -> None:
    tab = open_share(explore, digits_run)
    titles = {
        "Network: residual, 1 block, without normalization": "digits-network-residual-1-block-without-normalization",
        "Maps of conv1 for test image 0": "digits-maps-of-conv1-for-test-image-0",
        "Image: test image 0": "digits-image-test-image-0",
    }
    for title, name in titles.items():
        for kind, start in (("SVG", b"<svg"), ("PNG", b"\x89PNG")):
            with tab.expect_download() as download:
                tab.get_by_label(f"Save {title} as {kind}").click()
            download.value.save_as(tmp_path / "picture")
            assert download.value.suggested_filename == f"{name}.{kind.lower()}"
            assert (tmp_path / "picture").read_bytes().startswith(start)


def test_link_opens_the_same_view(explore, digits_run) -> None:
    tab = explore(digits_run.path / "explore.html")
    view = "(({image, layer, direction, panel}) => [image.title, layer, direction, panel, chosenNumber(store.state)])"
    tab.evaluate("""store.set({panel: "change", direction: "gradient", image: dataImage("train", 7)});
      chooseNumber("layer1.0.conv2", 77)""")
    wait_until(tab, "!tracer.busy")
    link = tab.get_by_role("link", name="Link to this view").get_attribute("href")
    expected = ["train image 7", "layer1.0.conv2", "gradient", "change", 77]
    assert tab.evaluate(f"{view}(store.state)") == expected
    tab.evaluate("store.undo(); store.set({panel: 'look', direction: 'forward'}); chooseLayer('fc')")
    tab.evaluate("(link) => { location.hash = link; }", link)
    wait_until(
        tab, f"JSON.stringify({view}(store.state)) === {json.dumps(json.dumps(expected, separators=(',', ':')))}"
    )
    tab.reload()  # a new page begins with the view of its address
    wait_until(
        tab, "typeof store !== 'undefined' && store.state.trace !== null && store.state.direction === 'gradient'"
    )
    assert tab.evaluate(f"{view}(store.state)") == expected
    assert tab.evaluate("store.past.length") == 0
    tab.evaluate("location.hash = '#layer=none&number=1e9&image=test+length&panel=x&direction=up'")
    tab.evaluate("location.hash = '#layer=conv1&number=-1&image=constructor+0'")
    wait_until(tab, "location.hash.includes('constructor') && !tracer.busy")
    assert tab.evaluate(f"{view}(store.state)") == expected
