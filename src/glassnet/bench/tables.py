"""The measurements as people read them: rows of plain values under named columns, and sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from glassnet.bench.clock import Spread
from glassnet.bench.machine import Machine
from glassnet.bench.report import OURS, BenchReport, Contest, Ratio

Rows = list[dict[str, Any]]

MEBI = 1 << 20


def told_spread(spread: Spread) -> str:
    """0.54 (0.53–0.56): the median and the quartiles."""
    return f"{_ratio(spread.median)} ({_ratio(spread.lower)}–{_ratio(spread.upper)})"


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value >= 0.095 else f"{value:.2g}"


def _rounded(value: float) -> float | int:
    """Three digits, or whole."""
    return round(value) if value >= 100 else float(f"{value:.3g}")


def machine_rows(machine: Machine) -> list[tuple[str, str]]:
    """What measurements were taken on, name and value."""
    one, every = machine.gemm_peak_1 / 1e9, machine.gemm_peak / 1e9
    names = {"python": "Python", "numpy": "NumPy", "blas": "BLAS", "torch": "PyTorch", "glassnet": "glassnet"}
    return [
        ("Processor", machine.processor),
        ("Cores", str(machine.cores)),
        ("System", machine.system),
        *((name, machine.versions[key] or "not there") for key, name in names.items()),
        ("Matrix product, float32", f"{one:.0f} GFLOP/s on one core, {every:.0f} on all"),
        ("Copying memory", f"{machine.bandwidth / 1e9:.1f} GB/s on all cores"),
    ]


def workload_rows(report: BenchReport, workload: str) -> Rows:
    """One workload's table: its contenders, or its layers where it has several tasks."""
    contests, peak = report.contests[workload], report.machine.gemm_peak
    if len(contests) == 1:
        return contender_rows(contests[0], peak)
    return [row for contest in contests for row in layer_rows(contest, peak)]


def contender_rows(contest: Contest, peak: float) -> Rows:
    """A row for each contender: milliseconds of each pass, speed at the main one, ratios there, and memory."""
    main = contest.task.main_pass
    rows = []
    for contender in contest.contenders:
        name = contender.name
        row: dict[str, Any] = {"contender": name}
        for measure in contest.seconds[contest.contenders[0].name]:
            spread = contest.spread(name, measure)
            row[f"{measure} ms"] = None if spread is None else _rounded(1e3 * spread.median)
        spread, speed = contest.spread(name, main), contest.flops_per_second(name, main)
        ends = () if spread is None else (spread.lower, spread.upper)
        row["quartiles"] = "–".join(f"{_rounded(1e3 * seconds):,}" for seconds in ends)
        row["GFLOP/s"] = speed and float(f"{speed / 1e9:.3g}")
        row["of peak"] = speed and float(f"{speed / peak:.2g}")
        row[f"{OURS} ÷ it"] = _times(contest.ratio_to(name, main))
        if contest.memory:
            size = contest.memory.get(name)
            row["peak MiB"] = None if size is None else _rounded(size / MEBI)
        rows.append(row)
    return rows


def layer_rows(contest: Contest, peak: float) -> Rows:
    """A row for each pass of one layer: everybody's speed at its best, and the ratios to ours."""
    rows = []
    for measure in contest.task.work:
        row: dict[str, Any] = {"layer": contest.task.name, "pass": measure}
        ours = contest.best(OURS, measure)
        speed = contest.flops_per_second(ours, measure) if ours else None
        row[f"{OURS} GFLOP/s"] = speed and float(f"{speed / 1e9:.3g}")
        row["of peak"] = speed and float(f"{speed / peak:.2g}")
        for engine in ("yardstick", "PyTorch", "bare GEMM"):
            best = contest.best(engine, measure)
            other = contest.flops_per_second(best, measure) if best else None
            row[f"{engine} GFLOP/s"] = other and float(f"{other / 1e9:.3g}")
        for engine in ("yardstick", "PyTorch"):
            found = [one for one in contest.ratios if (one.engine, one.measure) == (engine, measure)]
            row[f"÷ {engine}"] = _times(found[0].spread) if found else None
        rows.append(row)
    return rows


def _times(spread: Spread | None) -> str | None:
    return None if spread is None else told_spread(spread)


def quoted(contests: Sequence[Contest], measure: str | None = None) -> list[Ratio]:
    """The ratios of a workload with one task, for its main pass or another measure; none of one with several."""
    if len(contests) != 1:
        return []
    (contest,) = contests
    return [ratio for ratio in contest.ratios if ratio.measure == (measure or contest.task.main_pass)]


def words(workload: str, contests: Sequence[Contest]) -> list[str]:
    """What is quoted of a workload, in sentences: its time, and its memory."""
    told = {"time": quoted(contests), "peak memory": quoted(contests, "memory")}
    return [
        f"{workload}: {OURS}'s {what} is {_joined([_told(ratio) for ratio in ratios])}."
        for what, ratios in told.items()
        if ratios
    ]


def _told(ratio: Ratio) -> str:
    spread = _ratio(ratio.spread.median) if ratio.measure == "memory" else told_spread(ratio.spread)
    return f"{spread} × that of {ratio.setting}"


def _joined(texts: Sequence[str]) -> str:
    *most, last = texts
    return f"{'; '.join(most)}; and {last}" if most else last
