import numpy as np
import plotly.graph_objects as go

from glassnet.classification import Outcome
from glassnet.pages.page import Page, Section, Table, render
from glassnet.reports.class_results import class_blocks, compared_class_blocks


def outcome_of_many(classes=40):
    """Three images of each class but class 7; each image of classes 0 to 4 is predicted as the next class."""
    labels = np.array([label for label in range(classes) for _ in range(3) if label != 7])
    predicted = np.where(labels < 5, labels + 1, labels)
    predicted[(labels == 9).nonzero()[0][0]] = 20
    return Outcome.from_logits(labels, 5 * np.eye(classes)[predicted])


NAMES = [f"class {number}" for number in range(40)]


def by_title(blocks):
    return {block.title: block for block in blocks if isinstance(block, Table)}


def test_class_blocks_of_few_classes_are_figures():
    few = Outcome.from_logits(np.arange(3), np.eye(3))
    blocks = class_blocks(few, ["a", "b", "c"])
    assert [type(block) for block in blocks] == [str, go.Figure, go.Figure, Table]
    assert len(class_blocks(Outcome.from_logits(np.arange(29), np.eye(29)), NAMES[:29])) == 4
    assert len(class_blocks(Outcome.from_logits(np.arange(30), np.eye(30)), NAMES[:30])) == 2  # without figures


def test_class_blocks_of_many_classes_are_tables_of_the_worst():
    blocks = class_blocks(outcome_of_many(), NAMES)
    assert not any(isinstance(block, go.Figure) for block in blocks)
    tables = by_title(blocks)
    assert tables["Most frequent confusions"].rows == [
        *([f"class {number}", f"class {number + 1}", 3, 1.0] for number in range(5)),
        ["class 9", "class 20", 1, 1 / 3],
    ]
    assert tables["Classes of lowest recall"].rows == [
        ["class 0", None, 0.0, 3],
        *([f"class {number}", 0.0, 0.0, 3] for number in range(1, 5)),
        ["class 9", 1.0, 2 / 3, 3],
    ]
    assert len(tables["Classes"].rows) == 40
    assert tables["Classes"].collapsed


def test_class_blocks_show_at_most_20_rows():
    labels = np.arange(1000)
    blocks = class_blocks(Outcome.from_logits(labels, np.roll(np.eye(1000), 1, axis=1)), [*map(str, labels)])
    tables = by_title(blocks)
    assert [len(table.rows) for table in tables.values()] == [20, 20, 1000]


def test_class_blocks_say_which_classes_are_not_measured():
    _, sentence, *_, table = class_blocks(outcome_of_many(), NAMES)
    assert sentence == "1 of 40 classes has no image here and is not measured: class 7."
    assert table.rows[7] == ["class 7", "not measured", "not measured", 0]
    assert table.numeric == [False, True, True, True]
    html = render(Page("a", [], [], [Section("b", [sentence, table])]))
    assert "nan" not in html[html.index("<main") : html.index("</main>")].lower()


def test_class_blocks_without_an_error_have_the_table_alone():
    blocks = class_blocks(Outcome.from_logits(np.arange(40), np.eye(40)), NAMES)
    assert list(by_title(blocks)) == ["Classes"]


def test_class_blocks_begin_with_accuracies_and_calibration():
    labels = np.array([0, 0, 0, 1, 2, 3])
    confidence = np.log([[0.7, 0.1, 0.1, 0.1]] * 6)
    summary = class_blocks(Outcome.from_logits(labels, confidence), ["a", "b", "c", "d"])[0]
    assert summary == (
        "Accuracy 50.0%, top-2 accuracy 66.7%, mean recall of the classes 25.0%. The expected calibration error, the "
        "mean gap between confidence and accuracy in 15 bins of confidence, is 20.0 percentage points."
    )
    confidence[0] = np.nan
    summary = class_blocks(Outcome.from_logits(labels, confidence), ["a", "b", "c", "d"])[0]
    assert summary == "Accuracy 50.0%, top-2 accuracy 66.7%, mean recall of the classes 25.0%."


def test_compared_class_blocks_have_the_counts_and_recalls_of_every_run():
    first = outcome_of_many()
    runs = {"a": first, "b": Outcome.from_logits(first.labels, np.eye(40)[first.labels])}
    tables = by_title(compared_class_blocks(runs, NAMES))
    confusions = tables["Most frequent confusions, in images"]
    assert list(confusions.columns) == ["True class", "Predicted class", "a", "b"]
    assert confusions.rows[0] == ["class 0", "class 1", 3, 0]
    assert confusions.rows[-1] == ["class 9", "class 20", 1, 0]
    recalls = tables["Classes whose recall differs most"].rows
    assert recalls[0] == ["class 0", 3, 0.0, 1.0]
    assert recalls[-1] == ["class 9", 3, 2 / 3, 1.0]
    assert len(recalls) == 6


def test_compared_class_blocks_begin_with_the_pair_that_is_most_frequent_in_any_run():
    labels = np.repeat(np.arange(40), 3)
    first, second = labels.copy(), labels.copy()
    first[:2], second[:1], second[3:6] = 1, 1, 2  # 0 → 1 twice and once, 1 → 2 never and three times
    first[6:8], second[6:7] = 3, 3
    runs = {name: Outcome.from_logits(labels, np.eye(40)[named]) for name, named in (("a", first), ("b", second))}
    rows = by_title(compared_class_blocks(runs, NAMES))["Most frequent confusions, in images"].rows
    assert [row[2:] for row in rows] == [[0, 3], [2, 1], [2, 1]]
    assert [row[0] for row in rows] == ["class 1", "class 0", "class 2"]


def test_compared_class_blocks_of_few_classes_are_matrices():
    (figure,) = compared_class_blocks({"a": Outcome.from_logits(np.arange(3), np.eye(3))}, ["a", "b", "c"])
    assert figure.layout.title.text == "Confusion matrices"
