import numpy as np
import pytest

import glassnet as gn
from glassnet.verify.golden.cases import GoldenCase, TensorGroup, compute_groups, max_abs, with_small_images


def test_compute_groups_computes_no_tensor_that_is_zero_or_one_throughout() -> None:
    """Biases of 0 and scales of 1 would hide what is done with them."""
    network = gn.build("tiny-bn", dtype="float64")
    for group in compute_groups(network, GoldenCase(network.spec)):
        for key, array in group.tensors.items():
            if not key.endswith("num_batches_tracked"):
                assert not np.isin(array, (0, 1)).all(), f"{group.name}/{key}"


def test_with_small_images_takes_at_most_64_pixels_for_networks_of_any_size() -> None:
    assert with_small_images(gn.spec("resnet18")).size == (64, 64)
    assert with_small_images(gn.spec("resnet18", image_size=(20, 100))).size == (20, 64)
    flatten = gn.spec("resnet20", head="flatten", image_size=96)
    assert with_small_images(flatten) == flatten


def test_tensor_group_scales_gradients_by_a_millionth_of_the_largest_at_least() -> None:
    tensors = {"large": np.array([4.0, -100.0]), "small": np.array([1e-7, 0.0])}
    assert TensorGroup("a", tensors).scales == {"large": 100.0, "small": 1e-7}
    assert TensorGroup("a", tensors, is_gradient=True).scales == pytest.approx({"large": 100.0, "small": 1e-4})


def test_tensor_group_has_no_tolerance_for_gradients_and_steps_in_float32() -> None:
    tensors = {"x": np.ones(1)}
    for group, is_sure in (
        (TensorGroup("train/activations", tensors), True),
        (TensorGroup("train/gradients", tensors, is_gradient=True), False),
        (TensorGroup("steps/state", tensors), False),
    ):
        assert group.tolerance("float64") == 1e-9
        assert group.tolerance("float32") == (1e-4 if is_sure else np.inf)


def test_max_abs_is_nan_if_a_number_is() -> None:
    assert max_abs(np.array([1.0, -3.0])) == 3.0
    assert np.isnan(max_abs(np.array([1.0, np.nan])))
