import html
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from plotly.offline import get_plotlyjs

from glassnet import nn
from glassnet.nn import functional
from glassnet.pages.display import PLOTLY, show, source, stop
from glassnet.pages.figures import caption, confusion_figure, loss_curve
from glassnet.pages.page import Code, Table
from tests.conftest import offered_uploads

HISTORY = [{"epoch": 1, "loss": 2.0, "test_loss": 2.5}]


@pytest.fixture
def displayed(monkeypatch):
    """What a notebook would be handed, in order."""
    bundles = []

    def display(bundle, raw):
        assert raw
        bundles.append(bundle)

    ipython = SimpleNamespace(get_ipython=object, display=SimpleNamespace(display=display))
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    return bundles


def test_show_figure_then_caption(displayed):
    figure = loss_curve(HISTORY)
    show(figure)
    drawing, told = displayed
    assert drawing[PLOTLY]["data"][0]["y"] == [2.0]
    assert drawing["text/plain"] == figure.layout.meta["alt"]
    assert told["text/plain"] == caption(figure)
    assert html.escape(caption(figure)) in told["text/html"]


def test_show_figure_has_the_html_of_a_page(displayed):
    show(confusion_figure(np.eye(2, dtype=np.int64), ["a", "b"]))
    page = displayed[0]["text/html"]
    assert '<div class="plot"></div>' in page
    assert page.count("aria-pressed") == 2
    assert "<figcaption>" not in page
    assert displayed[0][PLOTLY]["layout"]["updatemenus"]  # JupyterLab's renderer has Plotly's own buttons


@pytest.mark.parametrize(("kept", "uploads"), [({"config"}, 0), ({"modebar"}, 0), (set(), 1)])
def test_show_has_no_button_that_uploads_a_figure(displayed, browser, tmp_path, kept, uploads):
    """Draws what a notebook is handed as JupyterLab's renderer does; either of two settings removes the button."""
    show(loss_curve(HISTORY))
    drawing = displayed[0][PLOTLY]
    if "config" not in kept:
        drawing["config"] = {}
    if "modebar" not in kept:
        del drawing["layout"]["modebar"]
    call = f"const {{data, layout, config}} = {json.dumps(drawing)}; Plotly.react(drawn, data, layout, config)"
    (tmp_path / "notebook.html").write_text(
        f'<meta charset="utf-8"><div id="drawn"></div><script>{get_plotlyjs()}</script><script>{call}</script>',
        encoding="utf-8",
    )
    tab = browser.new_page(offline=True)
    tab.goto((tmp_path / "notebook.html").as_uri())
    tab.locator(".js-plotly-plot").hover()
    titles = tab.evaluate("[...document.querySelectorAll('.modebar-btn')].map(button => button.dataset.title)")
    assert sum("Share" in title for title in titles) == uploads
    assert bool(offered_uploads(tab)) == bool(uploads) or "config" not in kept  # without it there is Plotly's link
    tab.close()


def test_show_tables_and_sentences(displayed):
    show(Table("Numbers", ["Name", "Count"], [["<b>", 1234]]), "A sentence & more.")
    table, sentence = displayed
    assert "1,234" in table["text/html"]
    assert "&lt;b&gt;" in table["text/html"]
    assert table["text/plain"] == "Numbers\nName | Count\n<b> | 1,234"
    assert table["text/markdown"] == "**Numbers**\n\n| Name | Count |\n| :-- | --: |\n| <b> | 1,234 |"
    assert sentence["text/html"].strip() == "<p>A sentence &amp; more.</p>"


def test_show_code(displayed):
    show(Code("The definition", "y = x < 1"))
    assert displayed[0]["text/plain"] == "y = x < 1"
    assert "<code>y = x &lt; 1</code>" in displayed[0]["text/html"]


def test_source_displays_the_code(displayed):
    source(nn.ReLU, nn.Linear.forward)
    (bundle,) = displayed
    assert bundle["text/markdown"].startswith("```python\nclass ReLU(Module):\n")
    assert "\n\ndef forward(self, x: Array) -> Array:\n    if x.ndim != 2" in bundle["text/markdown"]
    assert bundle["text/markdown"].endswith("```")


def test_source_leaves_out_docstrings(displayed):
    source(functional.flatten, nn.ReLU, docstrings=False)
    assert displayed[0]["text/plain"] == (
        "def flatten(x: Array) -> tuple[Array, Saved]:\n"
        "    return x.reshape(len(x), -1), (x.shape,)  # (N, C, H, W) -> (N, C·H·W)\n\n"
        "class ReLU(Module):\n"
        "    def forward(self, x: Array) -> Array:\n"
        "        y, saved = self.kernels.relu(x)\n"
        "        self.save_for_backward(saved, y.shape)\n"
        "        return y\n\n"
        "    def backward(self, dy: Array) -> Array:\n"
        "        return self.kernels.relu_backward(dy, self.pop_saved(dy))"
    )


def test_source_raises_type_error_without_source(displayed):
    with pytest.raises(TypeError):
        source(3)
    assert displayed == []


def test_show_prints_text_outside_of_a_notebook(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    show(loss_curve(HISTORY), "A sentence.")
    assert capsys.readouterr().out.splitlines()[-1] == "A sentence."
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    source(nn.ReLU)
    assert "class ReLU" in capsys.readouterr().out


def test_stop_skips_the_later_cells_of_a_notebook(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))  # its history
    interactive = pytest.importorskip("IPython.core.interactiveshell", reason="IPython belongs to the extra docs")
    shell = interactive.InteractiveShell()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    stop("PyTorch is missing.")
    for cell in ("print('ran')", "%time print('ran')\nassert False"):
        assert shell.run_cell(cell).success
    assert capsys.readouterr().out == "PyTorch is missing.\nSkipped.\nSkipped.\n"


def test_stop_exits_a_program_with_status_0(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    with pytest.raises(SystemExit) as stopped:
        stop("PyTorch is missing.")
    assert not stopped.value.code
    assert capsys.readouterr().out == "PyTorch is missing.\n"
