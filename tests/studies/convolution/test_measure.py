import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import glassnet as gn
from glassnet import nn
from glassnet.errors import ConfigError, DataError
from glassnet.pages.page import render
from glassnet.studies import convolution
from glassnet.studies.convolution import KERNELS, convolve
from glassnet.studies.convolution.kernels import Kernel

SIDE = 9


def edge(kind: str) -> np.ndarray:
    """White on one side of an edge through the middle, black on the other."""
    rows, columns = np.indices((SIDE, SIDE)) - SIDE // 2
    return {
        "vertical edges": columns < 0,
        "horizontal edges": rows < 0,
        "rising edges": rows + columns < 0,  # from bottom left to top right
        "falling edges": rows - columns < 0,
    }[kind].astype(float)


@pytest.mark.parametrize("kernel", KERNELS[:4], ids=lambda kernel: kernel.responds_to)
def test_edge_kernel_responds_most_to_its_edge(kernel: Kernel) -> None:
    def strength(kind: str) -> float:
        return float(np.abs(convolve(edge(kind), kernel.weights)).max())

    strongest = max((other.responds_to for other in KERNELS[:4]), key=strength)
    assert strongest == kernel.responds_to
    assert convolve(edge(kernel.responds_to), kernel.weights).max() > 0  # blue: brighter on the first side
    assert not convolve(np.ones((5, 5)), kernel.weights).any()


def test_sobel_columns_give_0_at_a_horizontal_edge() -> None:
    (sobel,) = (kernel for kernel in KERNELS if kernel.responds_to == "vertical edges")
    assert [row[0] * row[2] for row in sobel.weights] == [-1, -4, -1]
    assert not convolve(edge("horizontal edges"), sobel.weights).any()


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_numerators_are_whole_numbers_over_the_divisor(kernel: Kernel) -> None:
    np.testing.assert_allclose(np.array(kernel.numerators) / kernel.divisor, kernel.weights)
    assert all(isinstance(number, int) for row in kernel.numerators for number in row)


def test_other_kernels_respond_to_points_and_uniform_areas() -> None:
    kernels = {kernel.name: kernel.weights for kernel in KERNELS}
    even, spot = np.full((5, 5), 0.5), np.zeros((5, 5))
    spot[2, 2] = 1
    assert not convolve(even, kernels["Laplace"]).any()
    assert convolve(spot, kernels["Laplace"]).max() == 4
    for name in ("mean", "Gauss", "sharpen"):
        np.testing.assert_allclose(convolve(even, kernels[name]), 0.5)
    np.testing.assert_allclose(convolve(spot, kernels["mean"]), 1 / 9)


def test_difference_is_rounding_and_shows_a_planted_bug(
    study: convolution.ConvolutionStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert study.difference < 1e-14
    assert study.summary[0].endswith(f"differ by at most {study.difference:.1e} on all kernels.")
    monkeypatch.setattr(nn.Conv2d, "forward", lambda self, x, plain=nn.Conv2d.forward: plain(self, x) * 1.001)
    assert convolution.run_study().difference > 1e-4


def test_flips_is_false_and_true_for_a_flipping_conv2d(
    study: convolution.ConvolutionStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = slice(1, 4), slice(1, 4)
    np.testing.assert_array_equal(study.correlated[inner], study.kernel[::-1, ::-1])
    np.testing.assert_array_equal(study.flipped[inner], study.kernel)
    assert not study.flips
    assert "turned by 180°: it is a cross-correlation" in study.summary[2]

    def flipping(self: nn.Conv2d, x: np.ndarray, plain=nn.Conv2d.forward) -> np.ndarray:  # type: ignore[no-untyped-def]
        weight = self.weight.data.copy(order="K")
        self.weight.data[...] = weight[:, :, ::-1, ::-1]
        y = plain(self, x)
        self.weight.data[...] = weight
        return y

    monkeypatch.setattr(nn.Conv2d, "forward", flipping)
    assert "with the kernel as it is: it is a true convolution" in convolution.run_study().summary[2]


@pytest.mark.parametrize(
    ("changed", "shape", "parameters"),
    [
        ("one 3×3 kernel", (1, 6, 6), 10),
        ("a larger kernel", (1, 4, 4), 26),
        ("a flat kernel", (1, 8, 6), 4),
        ("padding same", (1, 8, 8), 10),
        ("padding of 2", (1, 10, 10), 10),
        ("stride 2", (1, 3, 3), 10),
        ("stride 2, padding 1", (1, 4, 4), 10),
        ("dilation 2", (1, 4, 4), 10),
        ("dilation 2, same", (1, 8, 8), 10),
        ("16 out of 3 channels", (16, 6, 6), 448),
    ],
)
def test_output_sizes_are_those_of_conv2d(
    study: convolution.ConvolutionStudy, changed: str, shape: tuple[int, ...], parameters: int
) -> None:
    (size,) = (size for size in study.sizes if size.changed == changed)
    assert (size.output_shape, size.parameters) == (shape, parameters)
    image = np.zeros((1, size.arguments["in_channels"], 8, 8), np.float32)
    conv = nn.Conv2d(**size.arguments)
    assert conv(image).shape[1:] == shape  # and it really comes out so
    assert conv.weight.data.shape == size.kernel_shape


def test_output_sizes_leave_out_what_does_not_fit() -> None:
    small = convolution.run_study(np.zeros((4, 4), np.uint8))
    assert "a larger kernel" not in [size.changed for size in small.sizes]
    assert small.heights["valid, dilation 2"] == (4, 2, None, None)
    assert "it has no edges" in small.summary[1]


def test_receptive_fields_of_resnet20_by_hand() -> None:
    fields = {field.layer: field.receptive_field.size[0] for field in convolution.receptive_fields("resnet20")}
    # two pixels more for each 3×3 kernel in stage 1, four in stage 2, eight in stage 3; strides count from the next on
    assert [fields[f"layer{stage}.2"] for stage in (1, 2, 3)] == [3 + 6 * 2, 15 + 2 + 5 * 4, 37 + 4 + 5 * 8]


def test_receptive_fields_cover_the_pixels_around_the_middle() -> None:
    first, *_ = convolution.receptive_fields("tiny", (8, 6))
    assert (first.layer, first.rows, first.columns) == ("conv1", (3, 6), (2, 5))


def test_run_study_keeps_the_proportions_of_a_file(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((50, 400, 3), np.uint8)).save(tmp_path / "wide.png")
    study = convolution.run_study(tmp_path / "wide.png")
    assert (study.name, study.image.shape) == ("wide.png", (12, 96))
    small = Image.fromarray(np.full((5, 7), 255, np.uint8))
    small.save(tmp_path / "small.png")
    image = convolution.run_study(tmp_path / "small.png").image
    assert image.shape == (5, 7)
    assert (image == 1).all()


def test_run_study_averages_the_channels_of_an_array() -> None:
    colours = np.zeros((6, 5, 3), np.uint8)
    colours[..., 0] = 255
    np.testing.assert_allclose(convolution.run_study(colours).image, 1 / 3)


@pytest.mark.parametrize(
    ("array", "received"),
    [
        (np.zeros((8, 8)), "float64 of shape (8, 8)"),
        (np.zeros((2, 8), np.uint8), "uint8 of shape (2, 8)"),
        (np.zeros((8, 8, 0), np.uint8), "uint8 of shape (8, 8, 0)"),
        (np.zeros((4, 8, 8, 1), np.uint8), "uint8 of shape (4, 8, 8, 1)"),
        (7, "int64 of shape ()"),
        ([], "float64 of shape (0,)"),
    ],
)
def test_run_study_refuses_arrays_that_are_no_image(array: object, received: str) -> None:
    message = "image must be a file, or uint8 of shape (H, W) or (H, W, C) with at least 3×3 pixels. Got "
    with pytest.raises(DataError, match=re.escape(f"{message}{received}.")):
        convolution.run_study(array)  # type: ignore[arg-type]


def test_run_study_refuses_files_that_are_no_image(tmp_path: Path) -> None:
    (tmp_path / "no.png").write_text("no image")
    with pytest.raises(DataError, match="no.png must be a readable image. Got: not an image"):
        convolution.run_study(tmp_path / "no.png")
    with pytest.raises(DataError, match="no such file"):
        convolution.run_study(tmp_path / "absent.png")
    with pytest.raises(DataError, match="not a file"):
        convolution.run_study(tmp_path)


@pytest.mark.parametrize("model", ["resnet21", 3, None])
def test_run_study_refuses_an_unknown_model(model: Any) -> None:
    with pytest.raises(ConfigError, match=f"model must be one of tiny, .* Got {model!r}"):
        convolution.run_study(model=model)


@pytest.mark.parametrize("model", gn.architecture.PRESETS)
def test_run_study_takes_every_model_on_the_smallest_image(model: str) -> None:
    study = convolution.run_study(np.zeros((3, 3), np.uint8), model)
    render(convolution.build_page(study))


def test_to_dict_leaves_pixels_out(study: convolution.ConvolutionStudy) -> None:
    told = json.dumps(study.to_dict(), allow_nan=False)
    assert len(told) < 20_000
    first = json.loads(told)["responses"][0]
    assert first["kernel"]["responds_to"] == "vertical edges"
    assert first["lowest"] == study.responses[0].response.min()
