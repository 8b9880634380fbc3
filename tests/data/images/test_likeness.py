import json
import re

import numpy as np
import pytest

from glassnet.data import Likeness, load_data
from glassnet.errors import ConfigError


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return load_data("digits").train.images


@pytest.fixture(scope="module")
def likeness(images: np.ndarray) -> Likeness:
    return Likeness.measure(images, 16.0)


def test_distance_is_the_reconstruction_error_of_principal_components(images: np.ndarray, likeness: Likeness) -> None:
    rows = images.reshape(len(images), -1) / 16
    _, directions = np.linalg.eigh(np.cov(rows.T))
    outside = directions[:, :-10]  # of all directions but the ten of the largest variance
    errors = np.linalg.norm((rows - rows.mean(axis=0)) @ outside, axis=1)
    distances = [likeness.distance(image / 16) for image in images[:100]]
    assert distances == pytest.approx(errors[:100], abs=0.01)


def test_limit_is_exceeded_by_one_percent_of_held_out_images(images: np.ndarray, likeness: Likeness) -> None:
    own = np.mean([likeness.distance(image / 16) > likeness.limit for image in images])
    assert 0.002 < own <= 0.01  # fewer than held out, as the patterns are theirs


def test_likeness_is_small_and_comes_back_from_json(images: np.ndarray, likeness: Likeness) -> None:
    text = json.dumps(likeness.to_dict())
    assert len(text) < 4000
    assert Likeness.from_dict(json.loads(text)) == likeness


def test_measure_of_few_images(images: np.ndarray) -> None:
    few = Likeness.measure(images[:10], 16.0)
    assert len(few.patterns) == 5
    assert few.distance(images[0] / 16) >= 0


@pytest.mark.parametrize("text", ["1 2", "1 2 x", "1 2 0.5"])
def test_patterns_must_be_as_many_integers_as_the_mean_has(text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape("patterns must be 3 integers separated by spaces. Got")):
        Likeness(mean="0 1 2", patterns=("0 0 1", text), limit=1.0)
