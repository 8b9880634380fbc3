"""Tests of the random cases of a sliding window, and of the wrong ways to put windows into an image."""

import numpy as np
import pytest

from glassnet.course.windows import SCATTERING, window_cases
from glassnet.nn.functional import add_windows, output_size, windows_of


@pytest.mark.parametrize("seed", range(20))
def test_window_cases_are_small_images_that_hold_two_windows_an_axis(seed: int) -> None:
    shapes = set()
    for label, x, window in window_cases(np.random.default_rng(seed)):
        assert x.shape[2] != x.shape[3], label
        assert min(output_size(x.shape[2:], **window)) >= 2, label
        assert x.size < 1000
        shapes.add((x.shape, *window.values()))
    assert len(shapes) == 10


def test_window_cases_vary_every_option() -> None:
    windows = [{"images": len(x), "channels": x.shape[1], **w} for _, x, w in window_cases(np.random.default_rng(0))]
    for option in ("images", "channels", "kernel_size", "stride", "padding", "dilation"):
        assert len({str(window[option]) for window in windows}) > 1, option


@pytest.mark.parametrize("number", range(len(SCATTERING)))
def test_scattering_differs_from_add_windows_where_its_option_matters(number: int) -> None:
    _, scatter = SCATTERING[number]
    results = []
    for _, x, window in window_cases(np.random.default_rng(0)):
        windows = windows_of(x, **window)
        arguments = x.shape, window["stride"], window["padding"], window["dilation"]
        wrong, right = scatter(windows, *arguments), add_windows(windows, *arguments)
        results.append(wrong.shape == right.shape and np.allclose(wrong, right))
    assert not all(results)
