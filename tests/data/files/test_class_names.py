import pytest

from glassnet.data.files.class_names import UnknownClassError, number_labels, order_classes


def test_order_classes_orders_numbers_by_value_and_others_as_text():
    assert order_classes({"10", "9", "-1", "2.5"}) == ["-1", "2.5", "9", "10"]
    assert order_classes({"10", "9", "x"}) == ["10", "9", "x"]
    assert order_classes({"nan", "1"}) == ["1", "nan"]


def test_number_labels_prefers_the_exact_name():
    assert number_labels(["a", "A", "b", "B"], ["A", "a", "B"]) == [1, 0, 2, 2]
    assert number_labels(["STRASSE"], ["straße", "x"]) == [0]


def test_number_labels_raises_for_an_unknown_label():
    with pytest.raises(UnknownClassError, match="c"):
        number_labels(["a", "c"], ["a", "b"])


def test_number_labels_raises_for_a_label_that_two_classes_resemble():
    with pytest.raises(UnknownClassError):
        number_labels(["CAT"], ["Cat", "cat"])
