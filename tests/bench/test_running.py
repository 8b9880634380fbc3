from typing import Any

import numpy as np
import pytest

from glassnet.bench import bench, clock, running
from glassnet.bench.contenders import Gemm, Glassnet, Part, Yardstick
from glassnet.bench.running import check_same, measure
from glassnet.bench.tasks import Inference, Training
from glassnet.bench.workloads import WORKLOADS, Workload
from glassnet.errors import ConfigError, GlassnetError
from glassnet.verify import yardstick
from tests.bench.small import MACHINE, SMALL, everybody, layers


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "TURN", 1e-9)
    monkeypatch.setattr(clock, "REST", 0)
    monkeypatch.setattr(running, "look", lambda cores: MACHINE)


def test_a_contest_has_everybody_who_has_a_part() -> None:
    found = measure(layers()[0], everybody(), rounds=2)
    assert len(found.contenders) == len(found.seconds) == 9
    assert {len(values) for passes in found.seconds.values() for values in passes.values()} == {2}
    norm = measure(layers()[1], everybody(), rounds=1)
    assert "bare GEMM, 1 thread" not in norm.seconds
    assert len(norm.ratios) == 2 * 2


def test_workloads_are_measured_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    few = Workload("Few", lambda: [Inference(SMALL, 4)], lambda: ([Glassnet(1), Yardstick(1)], "Nobody else."))
    monkeypatch.setitem(WORKLOADS, "few", few)
    told: list[str] = []
    report = bench(["few"], rounds=1, tell=told.append)
    assert list(report.contests) == ["few"]
    assert report.titles == {"few": "Few"}
    assert report.notes == ["Nobody else."]
    assert (report.machine, report.rounds) == (MACHINE, 1)
    assert told == ["the machine's ceilings", "few: logits"]
    ((_, ratio),) = report.ratios()
    assert ratio.spread.median > 0


def test_memory_is_measured_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(running, "peak_memory", lambda workload, name: asked.append((workload, name)) or len(asked))
    chosen = Workload("Few", lambda: [Training(SMALL, 4)], lambda: ([Glassnet(1), Yardstick(1)], None), has_memory=True)
    monkeypatch.setitem(WORKLOADS, "few", chosen)
    (found,) = bench(["few"], 1).contests["few"]
    assert asked == [("few", "glassnet, 1 thread"), ("few", "yardstick, 1 thread")]
    assert found.memory == {"glassnet, 1 thread": 1, "yardstick, 1 thread": 2}
    assert bench(["few"], 1, memory=False).contests["few"][0].memory == {}
    assert len(asked) == 2


def test_an_unknown_workload_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"workload must be one of digits, block, .*\. Got 'digit'; did you mean 'digits'\?"
    ):
        bench(["digits", "digit"])


def test_there_must_be_a_round() -> None:
    with pytest.raises(ConfigError, match=r"rounds must be an integer of at least 1\. Got 0\."):
        bench(["digits"], 0)


def relu_without_a_mask(self: Any, dy: Any) -> Any:
    self.kept()
    return dy


def test_who_computes_something_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    task, contenders = Training(SMALL, 4), [Glassnet(1), Yardstick(1)]
    check_same(task, contenders)
    monkeypatch.setattr(yardstick.ReLU, "backward", relu_without_a_mask)
    told = (
        r"yardstick, 1 thread does not compute the same training step as glassnet, 1 thread: conv1\.weight differs by "
        r"\S+ of its largest number; 1e-09 is allowed\. Times of different work say nothing\."
    )
    with pytest.raises(GlassnetError, match=told):
        check_same(task, contenders)


def test_who_computes_less_or_more_is_found() -> None:
    class Lazy(Yardstick):
        def layer(self, task: Any, dtype: str) -> Part:
            part = super().layer(task, dtype)
            return Part(part.at_work, part.once, lambda: {**part.results(), "y": part.results()["y"][:, 1:]})

    class Eager(Yardstick):
        def layer(self, task: Any, dtype: str) -> Part:
            part = super().layer(task, dtype)
            return Part(part.at_work, part.once, lambda: {**part.results(), "dz": np.ones(1)})

    for kind, key in ((Lazy, "y"), (Eager, "dz")):
        told = f"yardstick, 1 thread computes a {key} of the Conv2d 3→4, 8×8 that glassnet, 1 thread does not"
        with pytest.raises(GlassnetError, match=told):
            check_same(layers()[0], [Glassnet(1), kind(1)])


def test_products_without_results_are_not_compared() -> None:
    check_same(layers()[0], [Glassnet(1), Gemm(1)])
