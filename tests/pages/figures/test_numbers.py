import numpy as np
import pytest

from glassnet.pages.figures import caption, number_figure

IMAGE = np.arange(16).reshape(4, 4)
KERNEL = np.array([[1, 0, -1], [0.25, -0.0, 1 / 3]])


def draw(tiles, **options):
    return number_figure("Numbers", tiles, caption="Two arrays.", alt="Two arrays of numbers.", **options)


def test_number_figure_places_arrays_side_by_side():
    (heatmap,) = draw({"image": IMAGE, "kernel": KERNEL}).data
    np.testing.assert_array_equal(heatmap.z[:4, :4], IMAGE)
    first = next(column for column in range(4, heatmap.z.shape[1]) if np.isfinite(heatmap.z[0, column]))
    assert np.isnan(heatmap.z[:, 4:first]).all()  # the gap
    np.testing.assert_array_equal(heatmap.z[:2, first : first + 3], KERNEL)
    assert np.isnan(heatmap.z[2:, first:]).all()


def test_number_figure_writes_numbers_with_a_minus_and_no_negative_zero():
    (heatmap,) = draw({"kernel": KERNEL}).data
    assert heatmap.text[0, :3].tolist() == ["1", "0", "−1"]
    assert heatmap.text[1, :3].tolist() == ["0.25", "0", "0.333"]


def test_number_figure_leaves_out_the_numbers_of_unnumbered_arrays():
    (heatmap,) = draw({"image": IMAGE, "numbers": IMAGE}, unnumbered=["image"]).data
    assert set(heatmap.text[:, :4].ravel()) == {""}
    assert heatmap.text[3, -4:].tolist() == ["12", "13", "14", "15"]


@pytest.mark.parametrize(("white", "scale"), [(15, (0, 15)), (None, (-15, 15))])
def test_number_figure_colours_cells_gray_or_by_sign(white, scale):
    for heatmap in draw({"image": IMAGE}, white=white).data:
        assert (heatmap.zmin, heatmap.zmax) == pytest.approx(scale)


def test_number_figure_writes_white_on_dark_and_black_on_bright_pixels():
    dark, bright = draw({"image": IMAGE}, white=15).data
    assert (dark.textfont.color, bright.textfont.color) == ("white", "black")
    assert sorted("".join(pair) for pair in zip(dark.text.ravel(), bright.text.ravel(), strict=True)) == sorted(
        map(str, range(16))
    )
    assert [text for text in bright.text.ravel() if text] == [str(value) for value in range(7, 16)]
    assert np.isnan(dark.z).sum() + np.isnan(bright.z).sum() == 16


def test_number_figure_has_labels_above_the_arrays():
    figure = draw({"a": IMAGE, "b": KERNEL})
    assert [(note.text, note.y) for note in figure.layout.annotations] == [("a", -0.5), ("b", -0.5)]
    assert caption(figure) == "Two arrays."
