import pytest

from glassnet.formats import format_accuracy, format_bytes, format_duration, format_loss


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.84, "0.8 s"), (59.9, "59.9 s"), (200, "3 min 20 s"), (7530, "2 h 5 min")]
)
def test_format_duration(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_format_accuracy_and_format_loss() -> None:
    assert [format_accuracy(434 / 450), format_accuracy(1)] == ["96.4%", "100.0%"]
    assert [format_loss(0.24512), format_loss(140.36271)] == ["0.2451", "140.3627"]


def test_format_bytes_takes_powers_of_1000():
    counts = (0, 999, 1000, 2_500_000, 999_949_999, 999_950_000, 12_300_000_000, 3 * 10**15)
    texts = ["0 bytes", "999 bytes", "1.0 kB", "2.5 MB", "999.9 MB", "1.0 GB", "12.3 GB", "3,000.0 TB"]
    assert list(map(format_bytes, counts)) == texts
