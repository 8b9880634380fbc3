import pytest

from glassnet.pages.colours import BACKGROUND
from glassnet.pages.figures import caption, loss_curve
from glassnet.pages.theme import fraction_axis, line_style, logarithmic, new_figure, shorten_label, text_width


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("cat", "cat"),
        ("<script>", "&lt;script&gt;"),
        ("a & b", "a &amp; b"),
        ("two\nlines\t here", "two lines here"),
        ("abcdefghijklmnopqrstuvwxyz", "abcdefghijk…uvwxyz"),
        ("猫" * 20, "猫猫猫猫猫…猫猫猫"),  # as wide as 18 letters at most
        ("כלב", "\u2068כלב\u2069"),  # a number beside it keeps its place
        ("x\u202egnp.exe", "xgnp.exe"),
    ],
)
def test_shorten_label_escapes_and_shortens(name, shown):
    assert shorten_label(name) == shown


def test_shorten_label_keeps_the_ends_of_names():
    assert shorten_label("photographs of birds 1", 10) != shorten_label("photographs of birds 2", 10)


def test_text_width_ignores_escapes():
    assert text_width(["&lt;"]) == text_width(["<"])
    assert text_width(["猫"]) == text_width(["ab"])
    assert text_width(["a", "abc"]) == 3 * text_width(["a"])
    assert text_width([]) == 0


@pytest.mark.parametrize(
    ("values", "step", "full"),
    [((2.1, 2.3), None, True), ((0.07, 0.5), "D2", True), ((1e-3, 1.0), 1, False), ((1e-12, 1e3, 0.0), 3, False)],
)
def test_logarithmic_has_few_ticks(values, step, full):
    axis = logarithmic([*values, float("inf"), float("nan")])
    assert (axis["dtick"], axis.get("tickformat") == "~g") == (step, full)


@pytest.mark.parametrize(
    ("lowest", "first", "step"),
    [(0, 0, 0.2), (0.5, 0.5, 0.1), (0.93, 0.92, 0.02), (0.985, 0.97, 0.01), (1, 0.97, 0.01)],
)
def test_fraction_axis_fits_its_points_with_room_at_both_ends(lowest, first, step):
    axis = fraction_axis(lowest)
    margin = 0.03 * (1 - first)
    assert axis["range"] == pytest.approx([first - margin, 1 + margin])
    assert axis["dtick"] == step


def test_new_figure_stores_template_caption_and_alt():
    figure = new_figure("Title", caption="What to look for.", alt="What is seen.", height=100)
    assert figure.layout.template.layout.plot_bgcolor == BACKGROUND
    assert figure.layout.title.text == "Title"
    assert caption(figure) == "What to look for."
    assert figure.layout.meta["alt"] == "What is seen."


def test_new_figure_does_not_drag():
    assert loss_curve([]).layout.dragmode is False


def test_line_style_has_markers_only_with_a_symbol() -> None:
    plain, marked = line_style("a", "red", hover="x"), line_style("a", "red", "dot", "square", hover="x")
    assert (plain["mode"], "marker" in plain) == ("lines", False)
    assert (marked["mode"], marked["marker"]["symbol"], marked["line"]["dash"]) == ("lines+markers", "square", "dot")
