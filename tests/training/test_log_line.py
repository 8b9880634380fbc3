import pytest

from glassnet.training.log_line import describe_epoch

RECORD = {"epoch": 3, "loss": 0.6499, "train_accuracy": 0.977, "test_loss": 0.24512, "test_accuracy": 0.9644}
VALIDATED = {**RECORD, "validation_loss": 0.25, "validation_accuracy": 1.0}


@pytest.mark.parametrize(
    ("record", "smoothing", "without", "text"),
    [
        (RECORD, 0.0, "", "train loss 0.6499, accuracy 97.7%; test loss 0.2451, accuracy 96.4%"),
        (RECORD, 0.1, "", "train loss 0.6499 (smoothed), accuracy 97.7%; test loss 0.2451, accuracy 96.4%"),
        (VALIDATED, 0.0, "test", "train loss 0.6499, accuracy 97.7%; validation loss 0.2500, accuracy 100.0%"),
    ],
)
def test_describe_epoch_says_which_loss(record: dict[str, float], smoothing: float, without: str, text: str) -> None:
    assert describe_epoch(record, smoothing, without) == text
