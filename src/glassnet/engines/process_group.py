"""The processes that train one network together, as torchrun or srun started them.

Both tell each process its rank in environment variables; nothing is started here. The processes meet at a port of
rank 0's machine and exchange what they compute with torch.distributed (gloo on CPUs, NCCL between GPUs).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any, Self, TypeVar

from glassnet.engines.shards import part_rows
from glassnet.engines.watchdog import Watchdog
from glassnet.errors import ConfigError, GlassnetError, RunError

JOIN_TIMEOUT = 600.0  # seconds that the first process to arrive waits for the last one
STEP_TIMEOUT = timedelta(days=7)  # a process that is gone is found by the watchdog, not by a time limit
_TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_joins = count()

T = TypeVar("T")


class PartnerError(GlassnetError):
    """An exchange between the processes that failed, as a rule because one of them is gone."""


@dataclass(frozen=True)
class ProcessGroup:
    """One of ``world_size`` processes; ``local_rank`` counts those of its machine."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1
    address: str = "localhost"  # of the machine of rank 0
    port: int = 0
    is_slurm: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Return the group that torchrun's or SLURM's variables describe; without any, a single process.

        :raises ConfigError: if a variable is missing, or is no integer.
        """
        if all(name in environment for name in _TORCHRUN):
            number = partial(_number, environment)
            n_local = number("LOCAL_WORLD_SIZE", number("WORLD_SIZE"))
            numbers = number("RANK"), number("WORLD_SIZE"), number("LOCAL_RANK", number("RANK")), n_local
            return cls(*numbers, environment["MASTER_ADDR"], number("MASTER_PORT"))
        if "SLURM_PROCID" in environment and _slurm_tasks(environment) > 1:
            return cls._from_slurm(environment)
        return cls()

    @classmethod
    def _from_slurm(cls, environment: Mapping[str, str]) -> Self:
        number = partial(_number, environment)
        nodes = ("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST")
        node_list = next(filter(None, map(environment.get, nodes)), "localhost")
        job = number("SLURM_JOB_ID", 0) + number("SLURM_STEP_ID", 0)
        world_size = _slurm_tasks(environment)
        tasks = environment.get("SLURM_STEP_TASKS_PER_NODE") or environment.get("SLURM_TASKS_PER_NODE")
        n_local = tasks_of_node(tasks, number("SLURM_NODEID", 0)) if tasks else world_size
        return cls(
            number("SLURM_PROCID"),
            world_size,
            number("SLURM_LOCALID"),
            n_local,
            environment.get("MASTER_ADDR") or first_host(node_list),
            number("MASTER_PORT", 15_000 + job % 15_000),
            is_slurm=True,
        )

    @property
    def is_first(self) -> bool:
        """Whether this process writes the run folder and shows progress."""
        return self.rank == 0

    def __str__(self) -> str:
        return f"Rank {self.rank} of {self.world_size}"

    def parts(self, shards: int) -> range:
        """Return the indices of the parts of each batch that this process computes.

        :raises ConfigError: if the number of processes does not divide ``shards``.
        """
        if shards % self.world_size:
            raise ConfigError(
                f"shards must be a multiple of the number of processes, {self.world_size}. Got {shards}. "
                f"Start as many processes as divide {shards}, or a new run with other shards."
            )
        return self.parts_of(self.rank, shards)

    def parts_of(self, rank: int, shards: int) -> range:
        """Return the indices of the parts that the process of a rank computes."""
        each = shards // self.world_size
        return range(rank * each, (rank + 1) * each)

    def rows(self, total: int, shards: int) -> slice:
        """Return the rows of a batch of ``total`` images that this process computes."""
        rows, parts = part_rows(total, shards), self.parts(shards)
        return slice(rows[parts.start].start, rows[parts.stop - 1].stop)

    def gather(self, value: T) -> list[T]:
        """Return the values of all processes, in the order of their ranks. They are pickled."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        with partner_errors():
            distributed().all_gather_object(values, value)
        return values

    def from_first(self, compute: Callable[[], T]) -> T:
        """Return what ``compute`` returns in the first process; the others do not call it. The value is pickled."""
        if self.world_size == 1:
            return compute()
        import torch

        values: list[Any] = [compute() if self.is_first else None]
        with partner_errors():
            distributed().broadcast_object_list(values, src=0, device=torch.device("cpu"))
        return values[0]  # type: ignore[no-any-return]


SINGLE_PROCESS = ProcessGroup()


@contextmanager
def partner_errors() -> Iterator[None]:
    """Raise torch's errors of an exchange between processes as a PartnerError.

    :raises PartnerError: if the exchange failed.
    """
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise PartnerError(next(iter(str(error).strip().splitlines()), type(error).__name__)) from error


@contextmanager
def joined(group: ProcessGroup, report: Callable[[str], None]) -> Iterator[Watchdog]:
    """Join the other processes while the context lasts, watched: none goes on where another one is gone.

    Errors name the rank; an error of one process ends all of them, and is reported once.

    :param report: shows one line of text, why the training ends in another process.
    :returns: the watchdog, silent for a single process.
    :raises GlassnetError: if the others do not come within ``JOIN_TIMEOUT`` seconds.
    """
    watchdog = Watchdog(group.rank, group.world_size, group.local_rank, report)
    if group.world_size == 1:
        watchdog.start(None, "")
        yield watchdog
        watchdog.stop()
        return
    try:
        _join(group, watchdog)
        yield watchdog
        group.gather("finished")
        watchdog.stop()
        distributed().destroy_process_group()
    except KeyboardInterrupt:
        watchdog.leave()
        if group.is_first:
            raise
        raise SystemExit(1) from None  # rank 0 says why
    except Exception as error:
        text = next(iter(str(error).splitlines()), type(error).__name__)
        watchdog.fail(text, by_partner=isinstance(error, PartnerError))
        if isinstance(error, GlassnetError):
            raise type(error)(f"{group}: {text}") from error
        if isinstance(error, OSError | MemoryError):
            raise RunError(f"{group}: {text}") from error
        raise


def distributed() -> Any:
    """Return torch.distributed, which only several processes need."""
    import torch.distributed

    return torch.distributed


def _join(group: ProcessGroup, watchdog: Watchdog) -> None:
    import torch

    store = _meet(group)
    watchdog.start(store, group.address)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    with partner_errors():
        distributed().init_process_group(
            backend, store=store, rank=group.rank, world_size=group.world_size, timeout=STEP_TIMEOUT
        )


def _meet(group: ProcessGroup) -> Any:
    """Return the key-value store of the group, once all processes are there."""
    os.environ.update(MASTER_ADDR=group.address, MASTER_PORT=str(group.port))
    timeout = timedelta(seconds=JOIN_TIMEOUT)
    try:
        # The store of torchrun where there is one, otherwise a new one in rank 0.
        store, _, _ = next(distributed().rendezvous("env://", group.rank, group.world_size, timeout=timeout))
        store = distributed().PrefixStore(f"glassnet-{next(_joins)}", store)
        store.set(f"rank-{group.rank}", "here")
        for rank in range(group.world_size):
            store.wait([f"rank-{rank}"], timeout)
    except (RuntimeError, ValueError) as error:
        raise GlassnetError(
            f"The {group.world_size} processes must meet at {group.address}:{group.port} within {JOIN_TIMEOUT:.0f} s. "
            f"Got, in rank {group.rank}: {str(error).strip().splitlines()[0]}"
        ) from error
    return store


def first_host(node_list: str) -> str:
    """Return the first host of a node list of SLURM: ``node001`` for ``node[001-003,7],gpu5``."""
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])*", node_list)
    return re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", first[0] if first else node_list)


def tasks_of_node(counts: str, node: int) -> int:
    """Return the number of tasks on a node, from SLURM's list: ``2(x3),1`` means 2, 2, 2 and 1.

    :raises ConfigError: if the list is of another form.
    """
    tasks: list[int] = []
    for text in counts.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", text)
        if match is None:
            raise ConfigError(f"SLURM_TASKS_PER_NODE must be a list such as 2(x3),1. Got {counts!r}.")
        tasks += [int(match[1])] * int(match[2] or 1)
    return tasks[node] if node < len(tasks) else tasks[-1]


def _slurm_tasks(environment: Mapping[str, str]) -> int:
    return _number(environment, "SLURM_STEP_NUM_TASKS", _number(environment, "SLURM_NTASKS", 1))


def _number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environment.get(name, "" if default is None else str(default))
    if not text.isdecimal():
        raise ConfigError(f"The environment variable {name} must be an integer. Got {text!r}.")
    return int(text)
