"""Parts of a batch and their sums."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassnet.engines import ProcessGroup
from glassnet.engines.shards import TreeSum, dropout_of_batch, nodes_of, part_rows
from glassnet.errors import ConfigError


@given(total=st.integers(0, 300), shards=st.integers(1, 17))
def test_part_rows_are_those_of_array_split(total: int, shards: int) -> None:
    parts = [np.arange(total)[rows].tolist() for rows in part_rows(total, shards)]
    assert parts == [part.tolist() for part in np.array_split(np.arange(total), shards)]


@given(total=st.integers(1, 40), shards=st.integers(1, 12), data=st.data())
def test_tree_sum_has_the_same_bits_on_any_number_of_processes(total: int, shards: int, data: st.DataObject) -> None:
    """Numbers whose float32 sum depends on the order; parts without images are left out."""
    rows = part_rows(total, shards)
    sizes = [part.stop - part.start for part in rows]
    rng = np.random.default_rng(total)
    values = [np.float32(rng.normal() * 10.0 ** rng.integers(-4, 5)) if size else None for size in sizes]
    alone = TreeSum(shards)
    for part, value in enumerate(values):
        alone.add((part, 1), value)
    count = data.draw(st.sampled_from([count for count in range(1, shards + 1) if shards % count == 0]))
    whole = TreeSum(shards)
    for rank in range(count):
        parts = ProcessGroup(rank, count).parts(shards)
        own = TreeSum(shards)
        for part in parts:
            own.add((part, 1), values[part])
        assert {node: value is not None for node, value in own.nodes.items()} == nodes_of(parts, sizes)
        for node, value in own.nodes.items():
            whole.add(node, value)
    assert whole.total == alone.total
    assert whole.total == pytest.approx(sum(float(value) for value in values if value is not None), abs=1)


def test_tree_sum_adds_neighbours_first() -> None:
    tree = TreeSum(4)
    for part, value in enumerate([1e8, 1.0, -1e8, 1.0]):
        tree.add((part, 1), np.float32(value))
    assert tree.total == (np.float32(1e8) + np.float32(1)) + (np.float32(-1e8) + np.float32(1))
    assert tree.nodes.keys() == {(0, 4)}


def test_rows_of_processes_are_contiguous_and_complete() -> None:
    rows = [ProcessGroup(rank, 4).rows(3, 8) for rank in range(4)]
    assert [np.arange(3)[part].tolist() for part in rows] == [[0, 1], [2], [], []]


def test_parts_must_be_divided_by_the_processes() -> None:
    with pytest.raises(ConfigError, match=r"shards must be a multiple of the number of processes, 3. Got 8. Start as "):
        ProcessGroup(0, 3).parts(8)


def test_dropout_of_batch_hands_out_the_rows_of_one_draw() -> None:
    class Layer:
        generator = np.random.default_rng(5)

    layer, expected = Layer(), np.random.default_rng(5).random((5, 2))
    own = layer.generator
    with dropout_of_batch([layer], (5, 2)) as choose:
        for rows in (slice(0, 3), slice(3, 5)):
            choose(rows)
            assert (layer.generator.random((rows.stop - rows.start, 2)) == expected[rows]).all()
    assert layer.generator is own
    assert own.random() == np.random.default_rng(5).random(11)[10]  # the whole batch was drawn, once
