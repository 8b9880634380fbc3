import math

import numpy as np
import pytest
from markupsafe import escape

import glassnet as gn
from glassnet import measures
from glassnet.data import Split
from glassnet.errors import DataError
from glassnet.pages.figures import NO_ERRORS_TEXT
from glassnet.pages.page import Table, render
from glassnet.progress import Progress
from glassnet.reports import write_report
from glassnet.reports.report import compose

HOSTILE = '<img src=x onerror="alert(1)">'


def titles(page):
    """The titles of everything on a page but its paragraphs."""
    blocks = [block for section in page.sections for block in section.blocks if not isinstance(block, str)]
    return [block.title if isinstance(block, Table) else block.layout.title.text for block in blocks]


def paragraphs(page):
    return [*page.summary, *(block for section in page.sections for block in section.blocks if isinstance(block, str))]


def table(page, title):
    return next(
        block
        for section in page.sections
        for block in section.blocks
        if isinstance(block, Table) and block.title == title
    )


@pytest.fixture(scope="module")
def page(trained, digits_data):
    return compose(trained, digits_data)


def test_a_report_has_every_part(page):
    assert [section.title for section in page.sections] == [
        "Data",
        "Training",
        "Results on the test images",
        "Mistakes",
        "Inside the network",
        "Settings, versions and time",
    ]
    assert titles(page) == [
        "Training samples",
        "Loss",
        "Accuracy",
        "Gradient norm per layer",
        "Every epoch in numbers",
        "Confusion matrix",
        "Precision and recall per class",
        "Every class in numbers",
        "Mistakes: true class → predicted class",
        "First-layer filters",
        "Feature maps of one test image",
        "Layer by layer, for one image",
        "Model",
        "Recipe",
        "Data",
        "Run",
        "Versions",
    ]


def test_the_summary_gives_the_last_epochs_numbers_in_words(page, trained):
    accuracy = trained.history[-1]["test_accuracy"]
    right = round(450 * accuracy)
    first, second = page.summary
    assert first.startswith("tiny is a residual network with 2,538 parameters.")
    assert "10 classes from 1,347 images in 2 epochs on the NumPy engine" in first
    assert second.startswith(
        f"After the last epoch it names {right} of 450 test images correctly: a test accuracy of {accuracy:.1%}"
    )
    assert "the last epoch, be it the best or not" in second
    key_figures = dict(page.key_figures)
    assert key_figures["Test accuracy"] == f"{accuracy:.1%}"
    assert key_figures["Parameters"] == "2,538"


def test_figures_and_numbers_agree(page, trained):
    confusion = next(block for block in page.sections[2].blocks if getattr(block, "layout", None))
    counts = np.array(confusion.data[0].z)
    assert counts.sum() == 450
    assert np.trace(counts) == round(450 * trained.history[-1]["test_accuracy"])
    wrong = 450 - np.trace(counts)
    assert f"misclassifies {wrong} test images" in " ".join(paragraphs(page))
    total = table(page, "Layer by layer, for one image").rows[-1]
    assert total[:4] == ["total", "", 2538, 79_616]


def test_settings_name_what_the_run_was_made_of(page):
    recipe = dict(table(page, "Recipe").rows)
    assert recipe["optimizer"] == "sgd"
    assert dict(table(page, "Model").rows)["preactivation"] == "no"
    assert recipe["clip grad norm"] == "–"
    assert dict(table(page, "Data").rows)["classes"] == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    assert dict(table(page, "Run").rows)["seed"] == "3"
    assert "numpy" in dict(table(page, "Versions").rows)
    assert "total time" in dict(table(page, "Run").rows)


def test_a_report_is_written_into_the_run_and_looking_changes_nothing_there(run):
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    state = run.network.state_dict()
    assert write_report(run) == run.path / "report.html"
    assert {path: path.read_bytes() for path in before} == before
    assert set(run.path.rglob("*.*")) - set(before) == {run.path / "report.html"}
    for key, value in run.network.state_dict().items():
        np.testing.assert_array_equal(value, state[key], err_msg=key)


def test_the_same_run_gives_the_same_bytes(run, digits_data, tmp_path):
    first = write_report(run, digits_data, tmp_path / "one.html")
    second = write_report(gn.load(run.path), path=str(tmp_path / "two.html"))
    assert first.read_bytes() == second.read_bytes()


def test_data_that_is_gone_is_said_to_be_missing(run):
    run.config["data"]["source"] = str(run.path / "gone")
    with pytest.raises(DataError) as reason:
        run.load_dataset()
    html = write_report(run).read_text(encoding="utf-8")
    assert f"the feature maps are missing here. {escape(str(reason.value))}</p>" in html
    page = compose(run, None, "The folder is gone.")
    assert page.summary[-1].endswith("The folder is gone.")
    assert titles(page)[:5] == [
        "Loss",
        "Accuracy",
        "Gradient norm per layer",
        "Every epoch in numbers",
        "First-layer filters",
    ]
    assert dict(page.key_figures)["Test accuracy"] == f"{run.history[-1]['test_accuracy']:.1%}"


def test_arrays_of_ones_own_must_be_handed_over(run, digits_data):
    run.config["data"]["source"] = "arrays"
    assert "Pass the Dataset" in compose(run, None, "Pass the Dataset.").summary[-1]
    assert "Mistakes" in [section.title for section in compose(run, digits_data).sections]


def test_a_dataset_of_other_classes_is_refused(run):
    other = gn.Dataset(np.zeros((8, 8, 8, 1), np.uint8), np.arange(8) % 2, ["cat", "dog"])
    with pytest.raises(DataError, match=r"needs its classes \(0, 1, 2, 3, 4, …\)\. Got .* 2 classes \(cat, dog\)"):
        write_report(run, other)
    assert not (run.path / "report.html").exists()


def test_a_perfect_network_has_a_sentence_instead_of_mistakes(run, digits_data):
    split = digits_data.test
    named = measures.outcome(run, split).predicted
    perfect = gn.Dataset.from_splits(digits_data.train, Split(split.images, named), digits_data.classes, scale=16)
    page = compose(run, perfect)
    assert next(section for section in page.sections if section.title == "Mistakes").blocks == [NO_ERRORS_TEXT]
    assert any("which name 450 of 450 test images correctly" in sentence for sentence in page.summary)


def test_weights_that_validation_chose_are_named(run, digits_data):
    run.config["recipe"]["validation"] = 0.1
    run.history[-1]["test_accuracy"] = 0.5
    page = compose(run, digits_data)
    assert "test accuracy of 50.0%" in page.summary[1]
    assert page.summary[2].startswith("All that follows is about the weights that the validation images chose")


def test_label_smoothing_explains_the_gap_between_the_losses(run, digits_data):
    for smoothing, told in ((0.1, True), (0.0, False)):
        run.config["recipe"]["label_smoothing"] = smoothing
        sentences = paragraphs(compose(run, digits_data))
        assert any("label smoothing of 0.1" in sentence for sentence in sentences) is told


def test_an_unfinished_run_of_one_epoch_says_so(run, digits_data):
    run.history[:] = run.history[:1]
    page = compose(run, digits_data)
    assert "in 1 epoch on" in page.summary[0]
    assert "The run is not finished: 1 of 2 epochs are recorded." in page.summary
    render(page)


def test_a_run_without_a_record_shows_the_network(run, digits_data):
    run.history.clear()
    run.config["recipe"] = None
    page = compose(run, digits_data)
    assert page.title == "tiny"
    assert page.summary[0].endswith("This run has no record of a training.")
    assert [name for name, _ in page.key_figures] == ["Test accuracy", "Parameters", "Test images"]
    assert "no curves" in page.sections[1].blocks[0]
    assert [name for name, _ in compose(run, None).key_figures] == ["Parameters"]


def test_a_loss_that_is_not_finite_is_said(run, digits_data):
    run.history[-1] |= {"loss": math.nan, "test_loss": math.inf}
    page = compose(run, digits_data)
    assert page.summary[-1].startswith("The training diverged")
    html = render(page)
    assert "NaN" not in html.replace(html[html.index("plotly.js v") :], "")


def test_hostile_class_names_stay_text(tmp_path):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (40, 8, 8, 3)).astype(np.uint8)
    data = gn.Dataset(images, np.arange(40) % 2, [HOSTILE, "b" * 80])
    gn.train("tiny", data=data, epochs=1, run=tmp_path / "run", progress=Progress())
    html = write_report(gn.load(tmp_path / "run"), data).read_text(encoding="utf-8")
    assert HOSTILE not in html
    assert "&lt;img src=x" in html


def colour_run(path):
    """A colour network whose classes are many and have long, hostile names."""
    random = np.random.default_rng(0)
    names = [f"{HOSTILE} class number {number}" for number in range(30)]
    data = gn.Dataset(random.integers(0, 256, (120, 8, 8, 3)).astype(np.uint8), np.arange(120) % 30, names)
    gn.train(
        gn.spec("tiny-bn", in_channels=3, classes=30, blocks=2), data=data, epochs=1, run=path, progress=Progress()
    )
    return gn.load(path), data


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("kind", ["digits", "colour"])
def test_the_report_opens_offline_and_fits(browser, trained, digits_data, tmp_path, kind, width):
    model, data = (trained, digits_data) if kind == "digits" else colour_run(tmp_path / "run")
    path = write_report(model, data, tmp_path / "report.html")
    tab = browser.new_page(viewport={"width": width, "height": 900}, offline=True)
    complaints, requests = [], []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("request", lambda request: requests.append(request.url))
    tab.goto(path.as_uri())
    tab.wait_for_function("document.querySelectorAll('.plot .main-svg').length > 0")
    tab.wait_for_function("[...document.querySelectorAll('.plot')].every(plot => plot._fullLayout)")
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    sizes = tab.evaluate(
        "[...document.querySelectorAll('.plot .main-svg:first-child')].map(svg => svg.getBoundingClientRect())"
        ".map(({width, height}) => [width, height])"
    )
    assert len(sizes) == 9
    assert all(wide > 200 and high > 100 for wide, high in sizes)
    assert tab.locator("img").count() == 0  # no class name became an element
    if kind == "colour":
        assert tab.locator(".ytick text").filter(has_text="<img src=x").count() > 0
    shares = tab.get_by_role("button", name="Share of the true class")
    shares.focus()
    tab.keyboard.press("Enter")
    assert shares.get_attribute("aria-pressed") == "true"
    visible = (
        "[...document.querySelectorAll('.plot')].flatMap(p => p.data).filter(t => t.texttemplate).map(t => t.visible)"
    )
    tab.wait_for_function(f"JSON.stringify({visible}) === '[false,true]'")
    tab.close()
