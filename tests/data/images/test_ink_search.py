import numpy as np

from glassnet.data.images.ink_search import _even_surface, _label, _otsu


def test_label_numbers_connected_parts() -> None:
    rows = ["##..#", ".#.##", "...#.", "#...."]
    mask = np.array([[character == "#" for character in row] for row in rows])
    labels, n_parts = _label(mask)
    assert n_parts == 3
    assert (labels > 0).tolist() == mask.tolist()
    assert labels[0, 0] == labels[0, 1] == labels[1, 1]
    assert labels[0, 4] == labels[1, 4] == labels[1, 3] == labels[2, 3]
    assert len({int(labels[0, 0]), int(labels[0, 4]), int(labels[3, 0])}) == 3
    assert _label(np.zeros((3, 3), np.bool_))[1] == 0


def test_label_of_a_spiral_is_one_part() -> None:
    mask = np.zeros((21, 21), np.bool_)
    top, bottom, left, right = 0, 20, 0, 20
    mask[0] = True
    while bottom - top > 2:
        mask[top : bottom + 1, right] = mask[bottom, left : right + 1] = True
        mask[top + 2 : bottom + 1, left] = mask[top + 2, left : right - 1] = True
        top, bottom, left, right = top + 2, bottom - 2, left + 2, right - 2
    assert _label(mask)[1] == 1


def test_even_surface_is_the_light_on_the_paper() -> None:
    light = 150 + np.linspace(-40, 40, 90) + np.linspace(-20, 20, 60)[:, np.newaxis]
    lightness = light.copy()
    lightness[10:50, 30:45] -= 90  # ink
    lightness[10:50, 45:50] -= 20  # faint ink
    is_paper = lightness > _otsu(lightness)
    assert (is_paper != (lightness > light - 50)).any()  # the shade is darker than some of the ink
    assert np.abs(_even_surface(lightness, is_paper) - light).max() < 1


def test_otsu_separates_two_classes() -> None:
    rng = np.random.default_rng(0)
    dark, light = rng.normal(60, 8, 200), rng.normal(200, 12, 1000)
    threshold = _otsu(np.concatenate([dark, light]))
    assert dark.max() < threshold < light.min()
