import pytest

from glassnet.formats import format_accuracy, format_duration, format_loss


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.84, "0.8 s"), (59.9, "59.9 s"), (200, "3 min 20 s"), (7530, "2 h 5 min")]
)
def test_format_duration(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_format_accuracy_and_format_loss() -> None:
    assert [format_accuracy(434 / 450), format_accuracy(1)] == ["96.4%", "100.0%"]
    assert [format_loss(0.24512), format_loss(140.36271)] == ["0.2451", "140.3627"]
