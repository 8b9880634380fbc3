"""The group of processes that the environment describes. What several of them do together: tests/training."""

import pytest

from glassnet.engines import ProcessGroup
from glassnet.engines.process_group import first_host, tasks_of_node
from glassnet.errors import ConfigError

TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
TORCHRUN |= {"MASTER_ADDR": "node7", "MASTER_PORT": "29500"}
SLURM = {"SLURM_PROCID": "3", "SLURM_NTASKS": "5", "SLURM_LOCALID": "1", "SLURM_NODEID": "1", "SLURM_JOB_ID": "123456"}
SLURM |= {"SLURM_STEP_NODELIST": "gpu[07-08,12],big1", "SLURM_STEP_TASKS_PER_NODE": "2(x2),1"}


def test_from_environment_is_a_single_process_without_variables() -> None:
    assert ProcessGroup.from_environment({}) == ProcessGroup()
    assert ProcessGroup().is_first
    assert ProcessGroup().gather("a") == ["a"]
    assert ProcessGroup().from_first(lambda: "b") == "b"


def test_from_environment_reads_torchruns_variables() -> None:
    group = ProcessGroup.from_environment(TORCHRUN | SLURM)  # torchrun may run in a job of SLURM
    assert group == ProcessGroup(5, 8, 1, 4, "node7", 29500)
    assert (str(group), group.is_first) == ("Rank 5 of 8", False)


def test_from_environment_reads_slurms_variables() -> None:
    assert ProcessGroup.from_environment(SLURM) == ProcessGroup(3, 5, 1, 2, "gpu07", 15_000 + 123456 % 15_000, True)
    step = SLURM | {"SLURM_STEP_NUM_TASKS": "1"}
    assert ProcessGroup.from_environment(step) == ProcessGroup()  # srun --ntasks=1 in a larger job
    own = ProcessGroup.from_environment(SLURM | {"MASTER_ADDR": "head", "MASTER_PORT": "4000"})
    assert (own.address, own.port) == ("head", 4000)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (TORCHRUN | {"RANK": "one"}, "The environment variable RANK must be an integer. Got 'one'."),
        (SLURM | {"SLURM_LOCALID": ""}, "The environment variable SLURM_LOCALID must be an integer. Got ''."),
        (
            SLURM | {"SLURM_STEP_TASKS_PER_NODE": "two"},
            r"SLURM_TASKS_PER_NODE must be a list such as 2\(x3\),1. Got 'two'.",
        ),
    ],
)
def test_from_environment_refuses_what_is_no_number(variables: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ProcessGroup.from_environment(variables)


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("node1", "node1"),
        ("node1,node2", "node1"),
        ("node[001-003,7],gpu5", "node001"),
        ("rack[2,5]-n[04-09]", "rack2-n04"),
        ("n[3].local,m", "n3.local"),
    ],
)
def test_first_host_is_that_of_the_node_list(nodes: str, host: str) -> None:
    assert first_host(nodes) == host


def test_tasks_of_node_repeats_counts() -> None:
    assert [tasks_of_node("2(x3),1", node) for node in range(4)] == [2, 2, 2, 1]
