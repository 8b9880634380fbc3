from dataclasses import replace

import pytest

from glassnet.bench import quoted
from glassnet.reports.bench_figures import ratio_figure, roofline_figure
from tests.bench.small import MACHINE, contest, layers


def test_ratios_have_their_quartiles():
    figure = ratio_figure({"digits": quoted([contest()]), "block": quoted([contest()])})
    by_torch, by_plain = figure.data
    assert (by_torch.name, by_plain.name) == ("by PyTorch's", "by yardstick's")
    assert by_torch.x == (2.0, 2.0)
    assert by_torch.y == (0, 1)
    assert by_torch.error_x.array == (0.5, 0.5)
    assert by_torch.error_x.arrayminus == (0.5, 0.5)
    assert by_plain.text[0] == "yardstick, 2 threads"
    assert figure.layout.yaxis.ticktext == ("digits", "block")
    assert "digits, 2 of PyTorch" in figure.layout.meta["alt"]


def test_without_others_there_are_no_ratios():
    assert "Nobody else took part" in ratio_figure({"digits": []}).layout.meta["caption"]


def test_layers_stand_under_the_ceilings():
    contests = [contest(layer, memory=False) for layer in layers()]
    figure = roofline_figure(contests, MACHINE)
    every, one, *marks = figure.data
    assert list(every.y) == pytest.approx([every.x[0] * 1, 2, 2])  # 1 GB/s, then 2 GFLOP/s
    assert every.x[1] == 2
    assert every.name == "all cores: 2 GFLOP/s, 1 GB/s"
    assert one.y[-1] == 1
    forward, backward = marks[:4], marks[4:]
    assert [trace.name for trace in forward][:3] == ["PyTorch", "glassnet", "yardstick"]
    assert [trace.visible for trace in forward + backward] == 4 * [True] + 4 * [False]
    work = layers()[0].work["forward"]
    assert forward[1].x[0] == work.intensity
    assert forward[1].y[0] == work.flops / 3 / 1e9
    assert forward[1].text[0] == f"{layers()[0].name}<br>glassnet, 1 thread"
    assert forward[3].text == ("Conv2d", "BatchNorm2d", "ReLU")
    first, second = figure.layout.updatemenus[0].buttons
    assert (first.label, second.label) == ("Forward", "Backward")
    assert second.args[0]["visible"] == [True, True] + 4 * [False] + 4 * [True]


def test_one_core_has_one_ceiling():
    figure = roofline_figure([contest(layers()[0], memory=False)], replace(MACHINE, cores=1))
    assert [trace.mode for trace in figure.data].count("lines") == 1


def test_a_roofline_may_be_empty():
    figure = roofline_figure([], MACHINE)
    assert "0 layers" in figure.layout.meta["alt"]
