import numpy as np
import pytest

import glassnet as gn
from glassnet.errors import RunError
from glassnet.pages.page import Table, render
from glassnet.progress import Progress
from glassnet.reports import compare, write_comparison
from glassnet.reports.comparison_figures import NO_DISAGREEMENT
from glassnet.reports.comparison_page import build_page
from tests.conftest import widen
from tests.reports.runs_to_compare import fake_run, wrong_on

HOSTILE = '<img src=x onerror="alert(1)">'


def blocks(page, title):
    return next(section.blocks for section in page.sections if section.title == title)


def titles(page):
    return [
        block.title if isinstance(block, Table) else block.layout.title.text
        for section in page.sections
        for block in section.blocks
        if not isinstance(block, str)
    ]


def table(page, title):
    return next(
        block
        for section in page.sections
        for block in section.blocks
        if isinstance(block, Table) and block.title == title
    )


def test_build_page_has_every_part(compare_fakes):
    comparison = compare_fakes(fake_run("a", spec={"pool": "avg"}), fake_run("b", wrong_on(0, 1)))
    page = build_page(comparison)
    assert page.title == "“a” and “b” on noise"
    assert page.summary == comparison.summary
    assert page.key_figures == [("Test accuracy of a", "100.0%"), ("Test accuracy of b", "93.3%")]
    assert titles(page) == [
        "Runs compared",
        "McNemar's exact test of each pair",
        "Loss of every run",
        "Accuracy of every run",
        "Time per epoch",
        "Confusion matrices",
        "Disagreements: true and predicted class",
        "All other settings are the same",
    ]
    assert table(page, "Runs compared").rows[1][:5] == [
        "b",
        "NumPy",
        28 / 30,
        pytest.approx(0.3618, abs=1e-4),
        1000,
    ]
    assert table(page, "McNemar's exact test of each pair").rows == [["a", "b", 2, 0, 0.5, "no"]]
    assert table(page, "All other settings are the same").rows == [["pool", "Model", "avg", "max"]]
    assert blocks(page, "Disagreements")[0] == (
        "The runs predict different classes for 2 images of the 30 in the test set. All of them are shown below."
    )


def test_build_page_has_a_sentence_where_all_runs_agree(compare_fakes):
    page = build_page(compare_fakes(fake_run("a"), fake_run("b")))
    assert blocks(page, "Disagreements") == [NO_DISAGREEMENT]
    assert blocks(page, "Settings that differ") == ["All recorded settings are the same."]


def test_build_page_collapses_many_pairs(compare_fakes):
    page = build_page(compare_fakes(*(fake_run(name) for name in "abcde")))
    assert page.title == "5 runs on noise"
    assert len(table(page, "McNemar's exact test of each pair").rows) == 10
    assert table(page, "McNemar's exact test of each pair").collapsed


def test_build_page_keeps_curves_and_tables_without_the_images(compare_fakes):
    page = build_page(compare_fakes(fake_run("a"), fake_run("b"), dataset=None))
    assert [section.title for section in page.sections] == ["Results", "Training", "Settings that differ"]
    assert "was trained on arrays" in " ".join(page.summary)
    assert page.key_figures[0] == ("Test accuracy of a", "100.0%")
    render(page)


def test_build_page_of_runs_of_unequal_length_and_without_a_record(compare_fakes):
    page = build_page(compare_fakes(fake_run("a", seconds=()), fake_run("b", seconds=(1.0,))))
    assert {trace.legendgroup for trace in blocks(page, "Training")[0].data} == {"0", None}
    render(page)
    page = build_page(compare_fakes(fake_run("a", seconds=()), fake_run("b", seconds=())))
    assert "no curves" in blocks(page, "Training")[0]


def test_write_comparison_raises_run_error_where_it_cannot_write(compare_fakes, tmp_path):
    with pytest.raises(RunError, match=r"The page .*absent.*cannot be written"):
        write_comparison(compare_fakes(fake_run("a"), fake_run("b")), tmp_path / "absent" / "page.html")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Eight runs in folders with hostile names, of hostile classes in colour, that share their first epoch."""
    random = np.random.default_rng(0)
    names = [f"{HOSTILE} class number {number}" for number in range(12)]
    data = gn.Dataset(random.integers(0, 256, (96, 8, 8, 3)).astype(np.uint8), np.arange(96) % 12, names)
    folder = tmp_path_factory.mktemp("hostile")
    paths = [folder / f"<b onclick='x'> {number}" for number in range(8)]
    for number, path in enumerate(paths):
        gn.train("tiny", data=data, epochs=1 + number % 2, seed=number, run=path, progress=Progress(), report=False)
    return compare([gn.load(path) for path in paths], data)


def test_hostile_names_stay_text(hostile, tmp_path):
    html = write_comparison(hostile, tmp_path / "page.html").read_text(encoding="utf-8")
    assert HOSTILE not in html
    assert "<b onclick" not in html
    assert "&lt;b onclick" in html


def check_legend(tab):
    """It is below the title of the axis."""
    legend, axis = (tab.locator(f".plot >> nth=0 >> {part}").bounding_box() for part in (".legend", ".xtitle"))
    assert legend["y"] >= axis["y"] + axis["height"]


def test_comparison_opens_offline_and_fits(opened, hostile):
    tab = opened(build_page(hostile), 400)
    assert tab.locator(".plot").count() == 5
    assert tab.locator("img, b").count() == 0  # no name became an element
    check_legend(tab)
    widen(tab, 1400)
    check_legend(tab)
    tab.get_by_role("button", name="Close-up of the end").click()
    tab.wait_for_function("document.querySelectorAll('.plot')[1].layout.yaxis.range[0] > -1")
