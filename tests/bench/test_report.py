import json

import pytest

from glassnet.bench.clock import Spread
from glassnet.bench.report import Ratio
from tests.bench.small import TINY, contest, layers, report


def test_ratios_are_taken_round_by_round_against_the_quickest_setting() -> None:
    ratios = {(one.measure, one.engine): one for one in contest().ratios}
    step = ratios["step", "PyTorch"]
    # 2/2, 3/1, 4/2: the median of the ratios, which is not the ratio of the medians
    assert step == Ratio("training step", "step", "PyTorch", "PyTorch, NCHW, 1 thread", Spread.of([1.0, 3.0, 2.0]))
    assert step.spread == Spread(2.0, 1.5, 2.5)
    assert ratios["step", "yardstick"].setting == "yardstick, 2 threads"
    assert ratios["step", "yardstick"].spread.median == 3 / 5


def test_memory_has_a_ratio_of_its_own() -> None:
    ratios = {one.engine: one for one in contest().ratios if one.measure == "memory"}
    assert ratios["PyTorch"] == Ratio(
        "training step", "memory", "PyTorch", "PyTorch, channels-last, 2 threads", Spread(4.0, 4.0, 4.0)
    )  # not the setting that is quickest, but the one that takes least
    assert ratios["yardstick"].spread.median == 0.5
    assert not [one for one in contest(memory=False).ratios if one.measure == "memory"]


def test_what_is_no_counted_work_has_no_ratio() -> None:
    assert {one.measure for one in contest().ratios} == {"forward", "backward", "step", "memory"}
    assert {one.measure for one in contest(layers()[0], memory=False).ratios} == {"forward", "backward"}


def test_speed_is_work_by_the_median_time() -> None:
    found = contest()
    assert found.flops_per_second("glassnet, 1 thread", "step") == TINY.work["step"].flops / 3
    assert found.flops_per_second("glassnet, 1 thread", "update") is None
    assert found.spread("glassnet, 1 thread", "logits") is None


def test_rows_have_the_share_of_the_peak() -> None:
    rows = list(contest().rows(peak=1e6))
    assert len(rows) == 5 * 4
    (step,) = (row for row in rows if (row["contender"], row["measure"]) == ("glassnet, 1 thread", "step"))
    assert step["seconds"] == {"median": 3.0, "lower": 2.5, "upper": 3.5}
    assert step["share_of_peak"] == pytest.approx(TINY.work["step"].flops / 3 / 1e6)
    assert next(row for row in rows if row["measure"] == "update")["share_of_peak"] is None


def test_the_json_is_plain_and_complete() -> None:
    found = report()
    told = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert set(told) == {"format", "machine", "rounds", "notes", "workloads"}
    assert told["machine"]["versions"]["torch"] is None
    digits = told["workloads"]["digits"]
    assert digits["title"] == "Title of digits"
    assert digits["memory"]["glassnet, 1 thread"] == 40
    assert len(digits["ratios"]) == 8
    keys = {"task", "measure", "engine", "setting", "median", "lower", "upper"}
    assert all(set(ratio) == keys for ratio in digits["ratios"])
    assert len(told["workloads"]["layers"]["ratios"]) == 2 * 2 * len(layers())
    assert len(found.ratios()) == 8 + 4 * len(layers())
