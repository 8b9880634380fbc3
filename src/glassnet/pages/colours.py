"""Colours of pages and figures: one table with a light and a dark scheme.

Figures are made in the light scheme, so notebooks and saved figures have it. A page in the dark scheme replaces every
colour of a figure that is a key of ``DARK``; its style sheet takes its own from ``colour_variables``.
"""

import json

BACKGROUND, TEXT, QUIET, LINE, GRID = "#ffffff", "#1c2733", "#52606d", "#d9dfe5", "#e8ecf1"
TRAIN, TEST, VALIDATION = "#1f5fa8", "#c5530a", "#5b7f3b"  # distinct in every common colour blindness
FAINT = "#8a97a5"  # lines behind others; visible in both schemes
# Okabe and Ito's colours, distinct in every common colour blindness, without their yellow, too pale for lines on white.
RUN_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#e69f00", "#56b4e9", "#882255")

# Scales of heatmaps. Their ends are pale enough to read TEXT on them.
SEQUENTIAL = ((0, "#f3f5f8"), (1e-6, "#dce9f7"), (1, "#5299dd"))  # the smallest count differs from zero
DIVERGING = ("#ea6d56", "#f7c0b5", "#f3f5f8", "#b9d6f2", "#5299dd")  # negative, zero, positive
# Contrast with both backgrounds is at least 3.8, so that samples of it need no dark scheme.
DEPTH = ("#4574dc", "#7a5fe0", "#b54fc4", "#d8477f", "#d9571c")  # from the first layer to the last

_DARK_RUN_COLOURS = ("#4a9fe6", "#ff8f45", "#3fcfa2", "#eba3cd", "#f7f9fb", "#f7bd4a", "#a6e0ff", "#d8609b")
_DARK_DIVERGING = ("#b8432f", "#6b2f28", "#1f262e", "#1d4468", "#2a69ad")
DARK = {
    BACKGROUND: "#14181e",
    TEXT: "#e6ebf0",
    QUIET: "#a7b3bf",
    LINE: "#3b4652",
    GRID: "#29313b",
    TRAIN: "#6cb0f5",
    TEST: "#ff9a4d",
    VALIDATION: "#9ccb6f",
    **dict(zip(RUN_COLOURS, _DARK_RUN_COLOURS, strict=True)),
    SEQUENTIAL[1][1]: "#1b3350",
    **dict(zip(DIVERGING, _DARK_DIVERGING, strict=True)),
}
_VARIABLES = {
    "background": BACKGROUND,
    "text": TEXT,
    "quiet": QUIET,
    "line": LINE,
    "grid": GRID,
    "accent": TRAIN,
    "second": TEST,
    "third": VALIDATION,
    "shadow": FAINT,
    **{f"diverging-{index}": colour for index, colour in enumerate(DIVERGING)},
}


def colour_variables() -> str:
    """Return the style sheet that defines the variables --background, --text, ..., --diverging-4 for both schemes.

    The ``color-scheme`` of an element decides between them: that of the reader, unless the page sets one.
    """
    lines = "".join(
        f"  --{name}: light-dark({light}, {DARK.get(light, light)});\n" for name, light in _VARIABLES.items()
    )
    return f":root {{\n  color-scheme: light dark;\n{lines}}}\n"


def dark_colours_script() -> str:
    """Return the statement that defines ``DARK`` for draw.js."""
    return f"const DARK = new Map({json.dumps(list(DARK.items()))});\n"
