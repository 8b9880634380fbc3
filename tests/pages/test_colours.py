import json
import re

import pytest

from glassnet.pages.colours import (
    BACKGROUND,
    DARK,
    DEPTH,
    DIVERGING,
    QUIET,
    SEQUENTIAL,
    TEST,
    TEXT,
    TRAIN,
    VALIDATION,
    colour_variables,
    dark_colours_script,
)


def luminance(colour: str) -> float:
    channels = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    """Return the contrast ratio of WCAG 2.2, from 1 to 21."""
    dark, bright = sorted(map(luminance, (first, second)))
    return (bright + 0.05) / (dark + 0.05)


def dark(colour: str) -> str:
    return DARK.get(colour, colour)


def test_contrast_of_black_on_white_is_21() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("ground", [BACKGROUND, *DIVERGING, *(colour for _, colour in SEQUENTIAL)])
def test_text_is_readable_on_the_background_and_on_heatmaps(ground: str) -> None:
    assert contrast(TEXT, ground) >= 4.5
    assert contrast(dark(TEXT), dark(ground)) >= 4.5


def test_quiet_text_and_links_are_readable() -> None:
    for colour in (QUIET, TRAIN, TEST):  # TRAIN of links, TRAIN and TEST of bars with text on them
        assert contrast(colour, BACKGROUND) >= 4.5
        assert contrast(dark(colour), dark(BACKGROUND)) >= 4.5


@pytest.mark.parametrize("colour", [TRAIN, TEST, VALIDATION, *DEPTH])
def test_lines_stand_out_in_both_schemes(colour: str) -> None:
    assert contrast(colour, BACKGROUND) >= 3.8
    assert contrast(dark(colour), dark(BACKGROUND)) >= 3.8


def test_colours_stay_distinct_in_the_dark_scheme() -> None:
    assert len(set(DARK.values())) == len(DARK)


def test_colour_variables_have_both_schemes() -> None:
    assert f"--text: light-dark({TEXT}, {DARK[TEXT]});" in colour_variables()


def test_dark_colours_script_holds_the_table() -> None:
    (table,) = re.findall(r"const DARK = new Map\((.*)\);", dark_colours_script())
    assert dict(json.loads(table)) == DARK
