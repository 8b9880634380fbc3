import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

import glassnet as gn
from glassnet.engines.class_weights import balanced_weights, class_weights
from glassnet.errors import ConfigError, DataError
from glassnet.recipe import Recipe


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40))
def test_balanced_weights_are_scikit_learns(others: list[int]) -> None:
    labels = np.array([*range(5), *others])  # no class without images
    expected = compute_class_weight("balanced", classes=np.arange(5), y=labels)
    np.testing.assert_allclose(balanced_weights(np.bincount(labels)), expected, rtol=1e-15)


def test_balanced_weights_of_a_class_without_images_is_0() -> None:
    np.testing.assert_array_equal(balanced_weights(np.array([3, 0, 1])), [4 / 9, 0, 4 / 3])


def test_class_weights_are_none_by_default() -> None:
    assert class_weights(Recipe(), np.array([0, 1]), 2) is None
    assert class_weights(Recipe(), None, 2) is None


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_trainer_needs_labels_for_class_weights(engine: str) -> None:
    network = gn.build("tiny", engine)
    recipe = Recipe(class_weights="balanced")
    told = "^labels must be those of the training images with class_weights balanced. Got None.$"
    with pytest.raises(ConfigError, match=told):
        network.trainer(recipe)
    with pytest.raises(DataError, match="The labels must be from 0 to 9. Got 10."):
        network.trainer(recipe, labels=[3, 10])
