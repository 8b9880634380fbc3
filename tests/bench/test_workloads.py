import numpy as np

from glassnet.bench.workloads import BLOCK, WORKLOADS
from glassnet.layer_graph import parameter_count


def test_workloads_are_three_training_steps_and_inference() -> None:
    assert list(WORKLOADS) == ["digits", "block", "resnet20", "resnet20-inference"]
    assert [workload.is_training for workload in WORKLOADS.values()] == [True, True, True, False]


def test_block_is_a_convolution_one_block_and_the_head() -> None:
    assert (BLOCK.in_channels, BLOCK.image_size, BLOCK.width, BLOCK.blocks) == (3, 32, 16, (1,))
    assert parameter_count(BLOCK) == 3 * 9 * 16 + 2 * 16 * 9 * 16 + 3 * 2 * 16 + 16 * 10 + 10


def test_state_has_no_zeros_and_ones() -> None:
    state = WORKLOADS["block"].state()
    state.pop("bn1.num_batches_tracked")
    assert all(array.dtype == np.float64 for key, array in state.items() if "num_batches" not in key)
    assert not any(np.isin(array, (0, 1)).all() for key, array in state.items() if "num_batches" not in key)


def test_batch_has_the_workloads_shapes() -> None:
    images, labels = WORKLOADS["digits"].batch("float32")
    assert (images.shape, images.dtype, labels.shape) == ((64, 1, 8, 8), np.float32, (64,))
