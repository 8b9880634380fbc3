"""Running a bench: first that everybody computes the same, then how long it takes, then how much memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from glassnet.bench.clock import in_turn
from glassnet.bench.contenders import Contender
from glassnet.bench.machine import look
from glassnet.bench.memory import peak_memory
from glassnet.bench.report import BenchReport, Contest
from glassnet.bench.tasks import Task
from glassnet.bench.workloads import WORKLOADS
from glassnet.engines.threads import usable_cores
from glassnet.errors import GlassnetError, choice_error
from glassnet.nn.checks import check_int
from glassnet.verify.golden import FLOOR, TOLERANCES, largest

Array = NDArray[Any]
Tell = Callable[[str], None]  # told what is being done


def bench(
    names: Sequence[str] = (), rounds: int = 7, *, memory: bool = True, tell: Tell = lambda line: None
) -> BenchReport:
    """Measure workloads by name, all by default, side by side in turn.

    :raises ConfigError: an unknown workload, or less than one round.
    :raises GlassnetError: a contender computes something else than the others.
    """
    for name in names:
        if name not in WORKLOADS:
            raise choice_error("workload", WORKLOADS, name)
    check_int("rounds", rounds)
    tell("the machine's ceilings")
    machine = look(usable_cores())
    contests: dict[str, list[Contest]] = {}
    notes: list[str] = []
    chosen = {name: workload for name, workload in WORKLOADS.items() if name in names or not names}
    for name, workload in chosen.items():
        contenders, missing = workload.contenders()
        notes += [missing] if missing and missing not in notes else []
        contests[name] = []
        for task in workload.tasks():
            tell(f"{name}: {task.name}")
            contest = measure(task, contenders, rounds)
            if memory and workload.has_memory:
                tell(f"{name}: memory")
                contest = replace(contest, memory=_memory(name, contest))
            contests[name].append(contest)
    return BenchReport(machine, rounds, {name: workload.title for name, workload in chosen.items()}, contests, notes)


def measure(task: Task, contenders: Sequence[Contender], rounds: int) -> Contest:
    """The times of one task, by all contenders that have a part in it.

    :raises GlassnetError: they do not all compute the same.
    """
    check_same(task, contenders)
    parts = {contender: part for contender in contenders if (part := contender.part(task)) is not None}
    seconds = in_turn({contender.name: part for contender, part in parts.items()}, rounds)
    return Contest(task, list(parts), seconds)


def _memory(workload: str, contest: Contest) -> dict[str, int]:
    sizes = {one.name: peak_memory(workload, one.name) for one in contest.contenders}
    return {name: size for name, size in sizes.items() if size is not None}


def check_same(task: Task, contenders: Sequence[Contender]) -> None:
    """In float64 on a few images: the loss and what the step changed, the logits, or a layer's outputs and gradients.

    Each contender is compared with the first. The bare matrix products, which have no results, are not.

    :raises GlassnetError: names the contender and the first tensor that differs.
    """
    first: dict[str, Array] | None = None
    reference = ""
    for contender in contenders:
        part = contender.part(task.small(), "float64")
        if part is None:
            continue
        with part.at_work():
            part.once()
        results = part.results()
        if first is None:
            first, reference = results, contender.name
        elif results:
            _compare(task.name, first, reference, results, contender.name)


def _compare(task: str, expected: dict[str, Array], reference: str, results: dict[str, Array], contender: str) -> None:
    floor = FLOOR * max(largest(array) for array in expected.values())
    for key, array in results.items():
        known = expected.get(key)
        if known is None or known.shape != array.shape:
            raise GlassnetError(f"{contender} computes a {key} of the {task} that {reference} does not.")
        difference = largest(array - known) / max(largest(known), floor)
        if not difference <= TOLERANCES["float64"]:
            raise GlassnetError(
                f"{contender} does not compute the same {task} as {reference}: {key} differs by {difference:.1e} of "
                f"its largest number; {TOLERANCES['float64']:.0e} is allowed. Times of different work say nothing."
            )
