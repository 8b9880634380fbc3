import pytest

from glassnet.formats import (
    agree,
    format_accuracy,
    format_bytes,
    format_duration,
    format_loss,
    join_words,
    pluralize,
)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.84, "0.8 s"), (59.9, "59.9 s"), (200, "3 min 20 s"), (7530, "2 h 5 min")]
)
def test_format_duration(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_format_accuracy_and_format_loss() -> None:
    assert [format_accuracy(434 / 450), format_accuracy(1)] == ["96.4%", "100.0%"]
    assert [format_loss(0.24512), format_loss(140.36271)] == ["0.2451", "140.3627"]


def test_format_bytes_takes_powers_of_1000():
    counts = (0, 1, 999, 1000, 2_500_000, 999_949_999, 999_950_000, 12_300_000_000, 3 * 10**15)
    texts = ["0 bytes", "1 byte", "999 bytes", "1.0 kB", "2.5 MB", "999.9 MB", "1.0 GB", "12.3 GB", "3,000.0 TB"]
    assert list(map(format_bytes, counts)) == texts


def test_pluralize_counts_in_the_singular_for_1_alone() -> None:
    assert [pluralize(number, "epoch") for number in (0, 1, 1200)] == ["0 epochs", "1 epoch", "1,200 epochs"]


def test_pluralize_takes_a_plural() -> None:
    assert [pluralize(number, "class", "classes") for number in (0, 1, 1000)] == [
        "0 classes",
        "1 class",
        "1,000 classes",
    ]


def test_agree_chooses_the_singular_for_1_alone() -> None:
    assert [agree(number, "has", "have") for number in (0, 1, 2)] == ["have", "has", "have"]


def test_join_words_puts_and_before_the_last() -> None:
    assert [join_words(words) for words in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
