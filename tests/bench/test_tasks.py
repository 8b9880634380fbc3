import numpy as np
import pytest

from glassnet.architecture import spec
from glassnet.bench.tasks import Inference, Layer, Training, Work, distinct_layers
from tests.bench.small import SMALL, TINY

RESNET20 = distinct_layers(spec("resnet20"), 128)


def test_resnet20_has_these_layers() -> None:
    names = [layer.name for layer in RESNET20]
    assert len(names) == len(set(names)) == 12
    assert names[:4] == ["Conv2d 3→16, 32×32", "BatchNorm2d 16, 32×32", "ReLU 16, 32×32", "Conv2d 16→16, 32×32"]
    assert "Conv2d 16→32, 32×32, stride 2" in names
    assert [layer.first for layer in RESNET20] == [True] + 11 * [False]
    assert len(distinct_layers(spec("resnet20"), 1, repeated=True)) == 3 * 19


def test_the_work_of_a_convolution_by_hand() -> None:
    (layer,) = (layer for layer in RESNET20 if layer.name == "Conv2d 16→32, 32×32, stride 2")
    assert layer.gemm == (128 * 16 * 16, 16 * 9, 32)
    flops = 2 * 128 * 256 * 144 * 32
    x, weight, y = 4 * 128 * 16 * 1024, 4 * 32 * 144, 4 * 128 * 32 * 256
    assert layer.work == {"forward": Work(flops, x + weight + y), "backward": Work(2 * flops, 2 * (x + weight) + y)}
    assert layer.work["forward"].intensity == pytest.approx(flops / (x + weight + y))


def test_the_first_layer_needs_no_gradient_of_the_images() -> None:
    work = RESNET20[0].work
    assert work["backward"].flops == work["forward"].flops == 2 * 128 * 1024 * 27 * 16
    assert work["backward"].bytes == work["forward"].bytes


def test_the_work_of_other_layers() -> None:
    relu = Layer("ReLU", 2, (3, 4, 4), (3, 4, 4))
    assert relu.work == {"forward": Work(96, 2 * 384), "backward": Work(96, 3 * 384)}
    norm = Layer("BatchNorm2d", 2, (3, 4, 4), (3, 4, 4), {"num_features": 3})
    assert norm.work["forward"] == Work(7 * 96, 2 * 384)


def test_the_work_of_resnet20_is_that_of_its_paper() -> None:
    # 41 million multiply-adds an image (He et al. 2015 count 40.6 for the convolutions), twice again backwards.
    work = Training(spec("resnet20"), 128).work
    each = {name: one.flops / 2 / 128 for name, one in work.items()}
    assert each["forward"] == pytest.approx(40.55e6, rel=1e-3)
    first = 1024 * 27 * 16
    assert each["backward"] == 2 * each["forward"] - first
    assert each["step"] == each["forward"] + each["backward"]
    assert Inference(spec("resnet20"), 128).work == {"forward": work["forward"]}
    assert work["step"].intensity is None


def test_the_work_of_tiny_counts_the_head() -> None:
    convolutions, head = 64 * 9 * (1 * 8 + 8 * 8 + 8 * 8), 8 * 16 * 10
    assert TINY.work["forward"].flops == 2 * 8 * (convolutions + head)


def test_small_is_the_same_with_fewer_images() -> None:
    assert Training(SMALL, 64).small() == Training(SMALL, 4)
    assert Inference(SMALL, 2).small() == Inference(SMALL, 2)
    layer = distinct_layers(SMALL, 8)[0]
    assert layer.small().batch_size == 1
    assert layer.small().name == layer.name


@pytest.mark.parametrize("layer", distinct_layers(SMALL, 2), ids=lambda layer: layer.name)
def test_a_layers_arrays_fit_it(layer: Layer) -> None:
    from glassnet import nn

    module = layer.make(nn)
    module.load_state_dict(layer.state())
    x, dy = layer.arrays("float32")
    assert module(x).shape == dy.shape
    assert dy.dtype == np.float32
    for key, value in layer.state().items():
        if value.dtype == np.float64:
            assert not np.isin(value, [0, 1]).any(), key
