import numpy as np
import pytest

from glassnet.pages.figures.tile_grid import TileGrid, tile_grid_figure


def test_paste_keeps_the_pixels_of_tiles():
    tiling = TileGrid(count=5, height=2, width=3, columns=3, gap=1, label_height=2)
    tiles = np.arange(5 * 2 * 3).reshape(5, 2, 3)
    canvas = tiling.paste(tiles, -1)
    assert canvas.shape == tiling.size == (10, 12)
    assert tiling.corner(4) == (5, 4)
    for index in range(5):
        y, x = tiling.corner(index)
        np.testing.assert_array_equal(canvas[y : y + 2, x : x + 3], tiles[index])
    assert (canvas == -1).sum() == canvas.size - tiles.size


def test_tile_grid_figure_has_square_pixels():
    tiling = TileGrid(count=4, height=8, width=4, columns=2, gap=1, label_height=3)
    words = {"labels": [["a"]] * 4, "hover": ["a", "", "c", "d"], "caption": "", "alt": ""}
    figure = tile_grid_figure("Title", tiling, tile=(20, 40), below=60, left=30, **words)
    margin, layout = figure.layout.margin, figure.layout
    assert margin.autoexpand is False
    high, wide = tiling.size
    assert (layout.width - margin.l - margin.r) / wide == pytest.approx(10)  # 40 pixels a tile of 4
    assert (layout.height - margin.t - margin.b) / high == pytest.approx(10)
    assert (layout.meta["min_width"] - margin.l - margin.r) / wide == pytest.approx(5)
    labels, hover = figure.data
    assert labels.x[0] == 1.5  # the middle of pixels 0 to 3
    assert labels.y[0] >= 7.5  # below pixel 7
    assert list(hover.text) == ["a", "c", "d"]
    assert not layout.xaxis.visible
    assert not layout.yaxis.visible
