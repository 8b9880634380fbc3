import json

from glassnet.bench.results import Ratio
from glassnet.bench.timing import Quartiles
from tests.bench.small import report, timings


def test_ratios_are_taken_round_by_round_against_the_fastest_setting() -> None:
    plain, torch = timings().ratios("time")
    # 2/2, 3/1, 4/2: the median of the ratios, which is not the ratio of the medians
    assert torch == Ratio("time", "PyTorch", "PyTorch, NCHW, 1 thread", Quartiles.of([1.0, 3.0, 2.0]))
    assert torch.quartiles == Quartiles(1.5, 2.0, 2.5)
    assert plain.backend == "NumPy plain, 2 threads"
    assert plain.quartiles.median == 3 / 5


def test_ratios_of_memory_are_against_the_setting_that_takes_least() -> None:
    plain, torch = timings().ratios("peak_memory")
    assert torch == Ratio("peak_memory", "PyTorch", "PyTorch, channels-last, 2 threads", Quartiles(4.0, 4.0, 4.0))
    assert plain.quartiles.median == 0.5
    assert [ratio.measure for ratio in timings().all_ratios] == ["time", "time", "peak_memory", "peak_memory"]
    assert [ratio.measure for ratio in timings(memory=False).all_ratios] == ["time", "time"]


def test_summary_has_the_ratios() -> None:
    assert timings().summary == [
        "The time of NumPy fast is 0.60 (0.50–0.70) × that of NumPy plain, 2 threads; and 2.00 (1.50–2.50) × that of "
        "PyTorch, NCHW, 1 thread.",
        "The peak memory of NumPy fast is 0.50 × that of NumPy plain, 2 threads; and 4.00 × that of PyTorch, "
        "channels-last, 2 threads.",
    ]
    assert len(timings(memory=False).summary) == 1


def test_table_rows_have_one_for_each_backend() -> None:
    rows = timings().table_rows()
    assert rows[0] == {
        "backend": "NumPy fast, 1 thread",
        "median ms": 3000,
        "quartiles": "2,500–3,500",
        "fast ÷ this": "1.00",
        "peak MiB": 3.81e-05,
    }
    assert rows[3]["backend"] == "PyTorch, NCHW, 1 thread"
    assert rows[3]["fast ÷ this"] == "2.00 (1.50–2.50)"
    assert "peak MiB" not in timings(memory=False).table_rows()[0]


def test_to_dict_is_plain_and_complete() -> None:
    data = json.loads(json.dumps(report().to_dict(), allow_nan=False))
    assert set(data) == {"format", "machine", "rounds", "notes", "workloads"}
    digits = data["workloads"]["digits"]
    assert digits["title"] == "Step of tiny"
    assert digits["backends"][0] == {
        "backend": "NumPy fast, 1 thread",
        "implementation": "NumPy fast",
        "time": {"lower": 2.5, "median": 3.0, "upper": 3.5},
        "peak_memory": {"lower": 40, "median": 40, "upper": 40},
    }
    assert len(digits["ratios"]) == 4
    assert digits["ratios"][0] == {
        "measure": "time",
        "implementation": "NumPy plain",
        "backend": "NumPy plain, 2 threads",
        "quartiles": {"lower": 0.5, "median": 0.6, "upper": 0.7},
    }
