from glassnet.bench.clock import Spread
from glassnet.bench.tables import machine_rows, quoted, told_spread, words, workload_rows
from tests.bench.small import MACHINE, contest, layers, report


def test_a_spread_in_words() -> None:
    assert told_spread(Spread(1.254, 1.2, 1.3)) == "1.25 (1.20–1.30)"
    assert told_spread(Spread(0.000123, 0.00012, 0.00013)) == "0.00012 (0.00012–0.00013)"


def test_a_network_has_a_row_for_each_contender() -> None:
    rows = workload_rows(report(), "digits")
    assert [row["contender"] for row in rows][:2] == ["glassnet, 1 thread", "yardstick, 1 thread"]
    assert list(rows[0])[1:5] == ["forward ms", "backward ms", "update ms", "step ms"]
    assert rows[0]["step ms"] == 3000
    assert rows[0]["quartiles"] == "2,500–3,500"
    assert rows[3]["glassnet ÷ it"] == "2.00 (1.50–2.50)"
    assert rows[0]["peak MiB"] == 3.81e-05  # 40 bytes
    assert all(row.keys() == rows[0].keys() for row in rows)


def test_layers_have_a_row_for_each_pass() -> None:
    rows = workload_rows(report(), "layers")
    assert len(rows) == 2 * len(layers())
    assert rows[1]["layer"] == layers()[0].name
    assert rows[1]["pass"] == "backward"
    assert rows[0]["bare GEMM GFLOP/s"] is None
    assert rows[0]["÷ PyTorch"] == "2.00 (1.50–2.50)"
    assert all(row.keys() == rows[0].keys() for row in rows)


def test_what_is_quoted() -> None:
    assert [ratio.engine for ratio in quoted([contest()])] == ["yardstick", "PyTorch"]
    assert words("digits", [contest()]) == [
        "digits: glassnet's time is 0.60 (0.50–0.70) × that of yardstick, 2 threads; and 2.00 (1.50–2.50) × that of "
        "PyTorch, NCHW, 1 thread.",
        "digits: glassnet's peak memory is 0.50 × that of yardstick, 2 threads; and 4.00 × that of PyTorch, "
        "channels-last, 2 threads.",
    ]
    assert words("digits", [contest(memory=False)])[1:] == []
    assert words("layers", [contest(), contest()]) == []


def test_the_machine_in_words() -> None:
    rows = dict(machine_rows(MACHINE))
    assert (rows["Processor"], rows["Cores"], rows["BLAS"], rows["PyTorch"]) == (
        "A processor",
        "2",
        "a BLAS",
        "not there",
    )
    assert rows["Matrix product, float32"] == "1 GFLOP/s on one core, 2 on all"
    assert rows["Copying memory"] == "1.0 GB/s on all cores"
