from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from threadpoolctl import threadpool_info

from glassnet import nn
from glassnet.bench import path
from glassnet.bench.running import check_same
from glassnet.bench.tasks import distinct_layers
from glassnet.bench.workloads import path_steps
from tests.bench.small import SMALL

Array = NDArray[Any]


@settings(deadline=None, max_examples=30)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)),
    out_channels=st.integers(1, 3),
    kernel_size=st.sampled_from([1, 3, 5]),
    images=st.integers(1, 4),
    threads=st.integers(1, 3),
)
def test_all_steps_are_one_convolution(
    shape: tuple[int, ...], out_channels: int, kernel_size: int, images: int, threads: int
) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape)
    layer = nn.Conv2d(shape[1], out_channels, kernel_size, padding="same", bias=False, dtype=np.float64)
    y, weight = layer(x), layer.weight.data
    np.testing.assert_allclose(path.one_product(x, weight), y, rtol=0, atol=1e-12)
    np.testing.assert_allclose(path.loops(x[:1], weight), y[:1], rtol=0, atol=1e-12)
    nhwc, kernel = (np.ascontiguousarray(array.transpose(0, 2, 3, 1)) for array in (x, weight))
    np.testing.assert_allclose(path.channels_last(nhwc, kernel).transpose(0, 3, 1, 2), y, rtol=0, atol=1e-12)
    by_blocks = path.blocks(nhwc, kernel, images, threads)
    np.testing.assert_allclose(by_blocks.transpose(0, 3, 1, 2), y, rtol=0, atol=1e-12)
    assert by_blocks.dtype == x.dtype


def test_the_bench_takes_them_as_the_same_work() -> None:
    contenders, _ = path_steps()
    assert [one.engine for one in contenders][:5] == [
        "glassnet",
        "loops",
        "im2col",
        "channels-last",
        "blocks and threads",
    ]
    check_same(distinct_layers(SMALL, 4)[3], contenders)


def test_the_loops_compute_one_image_and_count_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = distinct_layers(SMALL, 4)[3]
    seen = []
    monkeypatch.setattr(path, "loops", lambda x, weight: seen.append(x.shape) or np.zeros(1))
    part = path.Step("loops", path.loops, 1).layer(layer, "float32")
    alone = path.Step("another", lambda x, weight: np.zeros(1), 1).layer(layer, "float32")
    for clocked in (part, alone):
        clocked.once()
    monkeypatch.setattr(path.Clock, "lap", lambda self, name: self.seconds.update({name: 2.0}))
    assert part.once() == {"forward": 8.0}  # four images
    assert alone.once() == {"forward": 2.0}
    assert {shape[0] for shape in seen} == {1}


def test_blas_has_one_thread_where_the_blocks_have_several() -> None:
    def blas() -> set[int]:
        return {library["num_threads"] for library in threadpool_info() if "openblas" in library["filepath"]}

    _, product, _, blocks = path.steps(2)
    with product.at_work():
        assert blas() == {2}
    with blocks.at_work():
        assert blas() == {1}
    assert blocks.threads == 2
