from glassnet.reports.bench_figures import ratio_figure
from tests.bench.small import timings


def test_ratio_figure_has_medians_and_quartiles():
    ratios = timings().ratios("time")
    figure = ratio_figure({"digits": ratios, "block": ratios})
    torch, plain = figure.data
    assert (torch.name, plain.name) == ("beside PyTorch", "beside NumPy plain")
    assert torch.x == (2.0, 2.0)
    assert torch.y == (0, 1)
    assert torch.error_x.array == (0.5, 0.5)
    assert torch.error_x.arrayminus == (0.5, 0.5)
    assert plain.text[0] == "NumPy plain, 2 threads"
    assert figure.layout.yaxis.ticktext == ("digits", "block")
    assert "digits, 2 of PyTorch" in figure.layout.meta["alt"]


def test_ratio_figure_without_pytorch_has_no_entry_for_it():
    figure = ratio_figure({"digits": timings().ratios("time")[:1]})
    assert [trace.name for trace in figure.data] == ["beside NumPy plain"]
