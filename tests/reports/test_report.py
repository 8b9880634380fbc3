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
from glassnet.pages.theme import caption
from glassnet.progress import Progress
from glassnet.reports import write_report
from glassnet.reports.report import build_page
from tests.conftest import widen

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
    return build_page(trained, digits_data)


def test_build_page_has_every_part(page):
    assert [section.title for section in page.sections] == [
        "Data",
        "Training",
        "Results on the test images",
        "Misclassified images",
        "Inside the network",
        "Settings, versions and time",
    ]
    assert titles(page) == [
        "Training samples",
        "Loss",
        "Accuracy",
        "Gradient norm per layer",
        "Epochs",
        "Confusion matrix",
        "Precision and recall per class",
        "Classes",
        "Misclassified: true → predicted",
        "Most confident errors",
        "First-layer filters",
        "Feature maps of one image",
        "Layers, for one image",
        "Model",
        "Recipe",
        "Data",
        "Run",
        "Versions",
    ]


def test_summary_gives_the_numbers_of_the_last_epoch(page, trained):
    accuracy = trained.history[-1]["test_accuracy"]
    right = round(450 * accuracy)
    first, second = page.summary
    assert first.startswith("tiny is a residual network with 2,538 parameters.")
    assert "trained on 1,347 images of 10 classes for 2 epochs on the NumPy engine" in first
    low, high = measures.accuracy_interval(right, 450)
    assert (
        f"{right} of 450 test images correctly after the last epoch: accuracy {accuracy:.1%} (95% confidence interval "
        f"{low:.1%} to {high:.1%})"
    ) in second
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
    total = table(page, "Layers, for one image").rows[-1]
    assert total[:4] == ["total", "", 2538, 79_616]


def test_build_page_shows_every_setting(page):
    recipe = dict(table(page, "Recipe").rows)
    assert recipe["optimizer"] == "sgd"
    assert dict(table(page, "Model").rows)["preactivation"] == "no"
    assert recipe["clip grad norm"] == "–"
    assert dict(table(page, "Data").rows)["classes"] == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    assert dict(table(page, "Run").rows)["seed"] == "3"
    assert "numpy" in dict(table(page, "Versions").rows)
    assert "total time" in dict(table(page, "Run").rows)


def test_write_report_adds_a_file_to_the_run_and_changes_nothing(run):
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    state = run.network.state_dict()
    report = write_report(run)
    assert report.path == run.path / "report.html"
    assert repr(report) == f"Report(tiny on digits: {report.path})"
    assert {path: path.read_bytes() for path in before} == before
    assert set(run.path.rglob("*.*")) - set(before) == {run.path / "report.html"}
    for key, value in run.network.state_dict().items():
        np.testing.assert_array_equal(value, state[key], err_msg=key)


def test_write_report_writes_the_same_bytes_for_the_same_run(run, digits_data, tmp_path):
    first = write_report(run, digits_data, tmp_path / "one.html").path
    second = write_report(gn.load(run.path), path=str(tmp_path / "two.html")).path
    assert first.read_bytes() == second.read_bytes()


def test_write_report_says_which_data_is_missing(run):
    run.config["data"]["source"] = str(run.path / "gone")
    with pytest.raises(DataError) as reason:
        run.load_dataset()
    html = write_report(run).path.read_text(encoding="utf-8")
    assert f"feature maps are missing. {escape(str(reason.value))}</p>" in html
    page = build_page(run, None, "The folder is gone.")
    assert page.summary[-1].endswith("The folder is gone.")
    assert titles(page)[:5] == [
        "Loss",
        "Accuracy",
        "Gradient norm per layer",
        "Epochs",
        "First-layer filters",
    ]
    assert dict(page.key_figures)["Test accuracy"] == f"{run.history[-1]['test_accuracy']:.1%}"


def test_build_page_of_a_run_on_arrays_takes_the_dataset(run, digits_data):
    run.config["data"]["source"] = "arrays"
    assert "Pass the Dataset" in build_page(run, None, "Pass the Dataset.").summary[-1]
    assert "Misclassified images" in [section.title for section in build_page(run, digits_data).sections]


def test_write_report_raises_data_error_for_other_classes(run):
    images, labels = np.zeros((8, 8, 8, 1), np.uint8), np.arange(8) % 2
    other = gn.Dataset(images, labels, ["cat", "dog"], test_images=images, test_labels=labels)
    with pytest.raises(DataError, match=r"must have its classes \(0, 1, 2, 3, 4, …\)\. Got 2 classes \(cat, dog\)\.$"):
        write_report(run, other)
    assert not (run.path / "report.html").exists()


def test_build_page_has_a_sentence_where_nothing_is_misclassified(run, digits_data):
    split = digits_data.test
    named = measures.outcome(run, split).predicted
    perfect = gn.Dataset.from_splits(digits_data.train, Split(split.images, named), digits_data.classes, scale=16)
    page = build_page(run, perfect)
    assert next(section for section in page.sections if section.title == "Misclassified images").blocks == [
        NO_ERRORS_TEXT
    ]
    assert any(
        "450 of 450 test images correctly of the data given for this report" in sentence for sentence in page.summary
    )


def test_summary_names_the_weights_that_validation_selected(run, digits_data):
    run.config["recipe"]["validation_fraction"] = 0.1
    run.history[-1]["test_accuracy"] = 0.5
    page = build_page(run, digits_data)
    assert "on 1,347 images of 10 classes (10% of them held out for validation) for 2 epochs" in page.summary[0]
    assert "accuracy 50.0%" in page.summary[1]
    assert "test images correctly with the weights selected on the validation set" in page.summary[2]


def test_build_page_explains_label_smoothing(run, digits_data):
    for smoothing, told in ((0.1, True), (0.0, False)):
        run.config["recipe"]["label_smoothing"] = smoothing
        losses = build_page(run, digits_data).sections[1].blocks[0]
        assert ("label smoothing of 0.1" in caption(losses)) is told


def test_summary_says_that_a_run_stopped_early(run, digits_data):
    run.history[:] = [{**run.history[0], "epochs_since_best": 1}]
    run.config["recipe"]["patience"] = 1
    told = "The run stopped early, after 1 of 2 epochs: validation was best after epoch 0, and patience is 1."
    assert told in build_page(run, digits_data).summary


def test_build_page_explains_class_weights(run, digits_data):
    run.config["recipe"]["class_weights"] = "balanced"
    losses = build_page(run, digits_data).sections[1].blocks[0]
    assert "In the training loss every class has the same weight" in caption(losses)


def test_build_page_explains_averaged_weights(run, digits_data):
    run.config["recipe"]["ema"] = 0.99
    for curve in build_page(run, digits_data).sections[1].blocks[:2]:
        assert "the other curves are of their moving average" in caption(curve)


def test_summary_says_that_a_run_is_not_finished(run, digits_data):
    run.history[:] = run.history[:1]
    page = build_page(run, digits_data)
    assert "for 1 epoch on" in page.summary[0]
    assert "The run is not finished: 1 of 2 epochs is recorded." in page.summary
    render(page)


def test_build_page_of_a_run_without_a_record_shows_the_network(run, digits_data):
    run.history.clear()
    run.config["recipe"] = None
    page = build_page(run, digits_data)
    assert page.title == "tiny"
    assert page.summary[0].endswith("The run has no training record.")
    assert [name for name, _ in page.key_figures] == ["Test accuracy", "Parameters", "Test images"]
    assert "no curves" in page.sections[1].blocks[0]
    assert [name for name, _ in build_page(run, None).key_figures] == ["Parameters"]


def test_summary_says_that_a_training_diverged(run, digits_data):
    run.history[-1] |= {"loss": math.nan, "test_loss": math.inf}
    page = build_page(run, digits_data)
    assert page.summary[-1].startswith("The training diverged")
    html = render(page)
    assert "NaN" not in html.replace(html[html.index("plotly.js v") :], "")


def test_write_report_keeps_hostile_class_names_text(tmp_path):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (40, 8, 8, 3)).astype(np.uint8)
    data = gn.Dataset(images, np.arange(40) % 2, [HOSTILE, "b" * 80])
    gn.train("tiny", data=data, epochs=1, run=tmp_path / "run", progress=Progress(), report=False)
    html = write_report(gn.load(tmp_path / "run"), data).path.read_text(encoding="utf-8")
    assert HOSTILE not in html
    assert "&lt;img src=x" in html


def colour_run(path):
    """A colour network whose classes are many and have long, hostile names."""
    random = np.random.default_rng(0)
    names = [f"{HOSTILE} class number {number}" for number in range(29)]
    data = gn.Dataset(random.integers(0, 256, (290, 8, 8, 3)).astype(np.uint8), np.arange(290) % 29, names)
    gn.train(
        gn.spec("tiny-bn", in_channels=3, classes=29, blocks=2),
        data=data,
        epochs=1,
        run=path,
        progress=Progress(),
        report=False,
    )
    return gn.load(path), data


def test_report_of_many_classes_opens_and_fits(opened, tmp_path):
    random = np.random.default_rng(0)
    names = [HOSTILE * 2, "كلب " * 9, "猫" * 30, *(f"a class number {number}" for number in range(97))]
    train, test = (random.integers(0, 256, (count, 8, 8, 3)).astype(np.uint8) for count in (100, 150))
    labels = np.arange(150) % 98  # two classes without test images
    data = gn.Dataset(train, np.arange(100), names, test_images=test, test_labels=labels)
    run = gn.train("tiny", data=data, epochs=1, run=tmp_path / "run", progress=Progress(), report=False)
    tab = opened(build_page(gn.load(run.path), data), 400)
    assert tab.locator("img").count() == 0
    assert tab.get_by_text("2 of 100 classes have no image here and are not measured: ").is_visible()
    assert tab.get_by_role("region", name="Most frequent confusions").get_by_role("row").count() == 21
    tab.locator("summary", has_text="Most confident errors").click()
    assert tab.get_by_role("region", name="Most confident errors").get_by_role("row").count() == 37


@pytest.mark.parametrize("kind", ["digits", "colour"])
def test_report_opens_offline_and_fits(opened, trained, digits_data, tmp_path, kind):
    model, data = (trained, digits_data) if kind == "digits" else colour_run(tmp_path / "run")
    tab = opened(build_page(model, data), 400)
    assert tab.locator(".plot").count() == 9
    assert tab.locator("img").count() == 0  # no class name became an element
    if kind == "colour":
        assert tab.locator(".ytick text").filter(has_text="<img src=x").count() > 0
    fractions = tab.get_by_role("button", name="Fraction of the true class")
    fractions.focus()
    tab.keyboard.press("Enter")
    assert fractions.get_attribute("aria-pressed") == "true"
    visible = (
        "[...document.querySelectorAll('.plot')].flatMap(p => p.data).filter(t => t.texttemplate).map(t => t.visible)"
    )
    tab.wait_for_function(f"JSON.stringify({visible}) === '[false,true]'")
    widen(tab, 1400)


def train_on(data, folder, **settings):
    return gn.load(gn.train("tiny", data, run=folder, epochs=2, report=False, progress=Progress(), **settings).path)


def page_text(page):
    return " ".join([*paragraphs(page), *titles(page), *map(str, page.key_figures), str(page.sections[2].title)])


def test_build_page_calls_no_accuracy_on_training_images_a_test_accuracy(tmp_path, digits_data):
    train, test = digits_data.train.take(np.arange(60)), digits_data.train.take(np.arange(40, 100))
    data = gn.Dataset.from_splits(train, test, digits_data.classes, scale=16)
    run = train_on(data, tmp_path / "run")
    for given in (data, None):
        page = build_page(run, given)
        assert "test accuracy" not in page_text(page).lower().replace("so this is no test accuracy", "")
        assert page.key_figures[0] == ("Evaluated accuracy", f"{run.history[-1]['evaluated_accuracy']:.1%}")
        assert "was trained on 20 of these images, so this is no test accuracy." in page.summary[1]
    assert "Contaminated" in table(page, "Epochs").columns
    clean = train_on(gn.Dataset.from_splits(train, digits_data.test, data.classes, scale=16), tmp_path / "clean")
    page = build_page(clean, data)  # its training images, given for the report
    assert page.key_figures[0][0] == "Test accuracy"  # after the last epoch, on its own test images
    assert "evaluated images correctly of the data given for this report" in page.summary[2]
    assert "was trained on 20 of these images" in page.summary[3]
    assert "Contaminated" not in table(page, "Epochs").columns


def test_build_page_names_the_val_images(tmp_path, digits_data):
    data = gn.Dataset.from_splits(
        digits_data.train.take(np.arange(60)), digits_data.test, digits_data.classes, scale=16, test_name="val"
    )
    page = build_page(train_on(data, tmp_path / "run"), data)
    assert page.key_figures[0][0] == "Val accuracy"
    assert "val images correctly after the last epoch" in page.summary[1]
    assert "The val set was not used to select the epoch." in page.summary[1]
    assert page.sections[2].title == "Results on the val images"
    figure = next(block for block in page.sections[1].blocks if not isinstance(block, str))
    assert [trace.name for trace in figure.data] == ["train, smoothed", "val"]


def test_build_page_names_validation_images_of_the_data(tmp_path, digits_data):
    train = digits_data.train
    data = gn.Dataset.from_splits(
        train.take(np.arange(60)),
        digits_data.test,
        digits_data.classes,
        scale=16,
        validation=train.take(np.arange(60, 90)),
    )
    summary = build_page(train_on(data, tmp_path / "run"), data).summary
    assert "It was trained on 60 images of 10 classes (and validated on 30 others)" in summary[0]
