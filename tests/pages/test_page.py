import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from plotly.offline import get_plotlyjs

from glassnet.errors import RunError
from glassnet.pages.figures import confusion_figure, loss_curve
from glassnet.pages.page import Code, Page, Section, Table, render, write_page
from tests.conftest import offered_uploads

HOSTILE = "</script><script>alert('&')</script>"


class Elements(HTMLParser):
    """The elements of a page with their attributes, and the texts outside of scripts and styles."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.texts, self.scripts, self.inside = [], [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.inside = tag

    def handle_data(self, data):
        if self.inside == "script":
            self.scripts.append((self.elements[-1][1], data))
        elif self.inside != "style":
            self.texts.append(data.strip())

    def handle_endtag(self, tag):
        self.inside = ""

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def page(*blocks, title="A page"):
    return Page(title, [("Fact", "1")], ["In short."], [Section("The results", blocks), Section("Else", [])])


def test_render_links_every_section():
    elements = Elements(render(page("A paragraph.")))
    links = [link["href"] for link in elements.all("a") if link["href"] != "#content"]
    assert links == ["#the-results", "#else"]
    assert [section["id"] for section in elements.all("section")] == ["the-results", "else"]
    assert {"A page", "In short.", "Fact", "1", "A paragraph."} <= set(elements.texts)
    assert elements.all("html") == [{"lang": "en"}]
    assert "content" in [main["id"] for main in elements.all("main")]


def test_render_inlines_plotly_once_and_requests_nothing():
    html = render(page(loss_curve([]), loss_curve([])))
    assert html.count(get_plotlyjs()) == 1
    rest = html.replace(get_plotlyjs(), "")
    assert not re.search(r"//\w", re.sub(r"^\s*//.*$", "", rest, flags=re.MULTILINE))  # no address, comments aside
    elements = Elements(html)
    assert not any("src" in attributes for _, attributes in elements.elements)
    assert all(link["href"].startswith("data:") for link in elements.all("link"))
    (policy,) = (meta["content"] for meta in elements.all("meta") if "http-equiv" in meta)
    assert "default-src 'none'" in policy
    assert not re.search(r"script-src[^;]*unsafe", policy)


def test_render_figure_has_caption_alt_and_data():
    figure = loss_curve([{"epoch": 1, "loss": 2.0, "test_loss": math.nan}])
    elements = Elements(render(page(figure)))
    (drawing,) = (json.loads(text) for attributes, text in elements.scripts if attributes.get("type"))
    assert drawing["data"][0]["y"] == [2.0]
    assert drawing["data"][1]["y"] == [None]
    assert drawing["layout"]["title"]["text"] == "Loss"
    assert figure.layout.meta["caption"] in elements.texts
    (image,) = (attributes for attributes in elements.all("div") if attributes.get("role") == "img")
    assert image["aria-label"] == f"Loss. {figure.layout.meta['alt']}"


def test_render_turns_plotly_buttons_into_html():
    figure = confusion_figure(np.eye(2, dtype=np.int64), ["a", "b"], normalized=True)
    elements = Elements(render(page(figure)))
    first, second, *_ = elements.all("button")
    assert (first["aria-pressed"], second["aria-pressed"]) == ("false", "true")
    assert first["data-method"] == "restyle"
    assert json.loads(first["data-arguments"]) == [{"visible": [True, False]}]
    (drawing,) = (json.loads(text) for attributes, text in elements.scripts if attributes.get("type"))
    assert "updatemenus" not in drawing["layout"]
    assert len(figure.layout.updatemenus) == 1  # the figure itself stays as it is
    margin = figure.layout.margin
    assert figure.layout.height - drawing["layout"]["height"] == margin.t - drawing["layout"]["margin"]["t"] > 0


def test_render_table_names_columns_and_aligns_numbers():
    rows = [["a", 40_551_040, None], ["b", 0.5, 1.0]]
    elements = Elements(render(page(Table("Numbers", ["Name", "Count", "Share"], rows))))
    assert [cell.get("class") for cell in elements.all("th")] == [None, "number", "number", None, None]
    assert [cell["scope"] for cell in elements.all("th")] == ["col"] * 3 + ["row"] * 2
    assert [cell.get("class") for cell in elements.all("td")] == ["number"] * 4
    assert {"Numbers", "40,551,040", "–", "0.5", "1"} <= set(elements.texts)


def test_page_has_no_button_that_uploads_a_figure(opened):
    matrix = np.eye(10, dtype=np.int64)
    tab = opened(page(loss_curve([{"epoch": 1, "loss": 2.0}]), confusion_figure(matrix, list("abcdefghij"))), 800)
    tab.locator(".plot").first.hover()
    titles = tab.evaluate("[...document.querySelectorAll('.modebar-btn')].map(button => button.dataset.title)")
    assert "Zoom" in titles
    assert offered_uploads(tab) == []
    assert tab.evaluate("[...document.querySelectorAll('.plot')].map(plot => plot._context.plotlyServerURL)") == 2 * [
        ""
    ]


def test_render_collapsed_table_is_closed():
    elements = Elements(render(page(Table("Numbers", ["Name"], [["a"]], collapsed=True))))
    assert elements.all("details") == [{}]
    assert not Elements(render(page(Table("Numbers", ["Name"], [["a"]])))).all("details")


def test_render_code_is_closed_and_escaped():
    html = render(page(Code("The loop", "for i in x:\n    y &= i < 2")))
    assert "<code>for i in x:\n    y &amp;= i &lt; 2</code>" in html
    elements = Elements(html)
    assert elements.all("details") == [{}]
    assert elements.all("pre")[0]["tabindex"] == "0"  # the keyboard scrolls it


def test_render_empty_table():
    assert "Nothing here" in Elements(render(page(Table("Nothing here", ["Name"], [])))).texts


def test_render_escapes_hostile_text():
    matrix = np.array([[1, 1], [0, 1]])  # the mixed-up pair is told in words, too
    blocks = [HOSTILE, Table(HOSTILE, [HOSTILE], [[HOSTILE]]), confusion_figure(matrix, [HOSTILE, "b"])]
    html = render(page(*blocks, title=HOSTILE))
    assert HOSTILE not in html
    elements = Elements(html)
    assert elements.texts.count(HOSTILE) == 6  # title, heading, paragraph, caption, column, cell
    assert len(elements.all("script")) == 3  # the figure's data, plotly.js, the drawing


def test_write_page_replaces_an_older_page(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("old", encoding="utf-8")
    assert write_page(page(), path) == path
    assert path.read_bytes() == render(page()).encode("utf-8")
    assert list(tmp_path.iterdir()) == [path]


def test_write_page_raises_run_error_where_it_cannot_write(tmp_path):
    with pytest.raises(RunError, match=r"The page .*absent.*page\.html cannot be written: No such file"):
        write_page(page(), tmp_path / "absent" / "page.html")


def test_write_page_writes_undecodable_names(tmp_path):
    undecodable = b"caf\xe9".decode("utf-8", "surrogateescape")
    write_page(page(undecodable, confusion_figure(np.eye(2, dtype=np.int64), [undecodable, "b"])), tmp_path / "p.html")
    assert "caf?" in (tmp_path / "p.html").read_text(encoding="utf-8")


def test_from_records_takes_columns_from_the_first_row() -> None:
    table = Table.from_records("Runs", [{"Run": "a", "Loss": 0.5}, {"Run": "b", "Loss": None}], collapsed=True)
    assert (table.columns, table.rows, table.collapsed) == (["Run", "Loss"], [["a", 0.5], ["b", None]], True)
    assert Table.from_records("Runs", []).columns == []
