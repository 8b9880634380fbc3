"""Tests of the course's pages: their code runs without PyTorch, their form, their notebooks and their rendered form."""

import ast
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import glassnet as gn
from glassnet import nn
from glassnet.nn import functional
from glassnet.verify import naive_convolution
from tests.test_docs import ROOT, program
from tests.without_torch import BLOCK_TORCH

COURSE = ROOT / "docs/course"
CHAPTERS = sorted(COURSE.glob("[0-9]*.md"))
PAGES = sorted(COURSE.glob("*.md"))
DEGRADATION = COURSE / "05-residual-idea.md"  # trains for more than a minute, and `make docs` runs it as well
PYTORCH = COURSE / "08-pytorch.md"  # stops at its first cell where PyTorch is missing

# Runs in a new process without PyTorch: cells as JSON on stdin, their output on stdout.
PROGRAM = (
    BLOCK_TORCH
    + """
import json
namespace = {"__name__": "__main__"}
for number, cell in enumerate(json.load(sys.stdin), start=1):
    print(f"--- cell {number}", flush=True)
    exec(compile(cell, f"cell {number} of the chapter", "exec"), namespace)
assert "torch" not in sys.modules
print("=== all")
"""
)


def stem(path: Path) -> str:
    return path.stem


every_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=stem)
every_page = pytest.mark.parametrize("path", PAGES, ids=stem)


def cells(page: str) -> list[tuple[str, str]]:
    """Return the options and the code of each cell of a MyST notebook."""
    blocks = re.findall(r"^```\{code-cell\}[^\n]*\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    matches = [re.match(r"((?::[^\n]*\n)*)(.*)", block, flags=re.DOTALL) for block in blocks]
    return [(match[1], match[2]) for match in matches if match is not None]


def test_cells_returns_options_and_code() -> None:
    page = "Text\n```{code-cell} ipython3\n:tags: [hide-cell]\n:mystnb: {a: b}\nx = 1\n```\n```sh\nls\n```\n"
    assert cells(page) == [(":tags: [hide-cell]\n:mystnb: {a: b}\n", "x = 1\n")]


def run_cells(code: list[str], folder: Path) -> Any:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        input=json.dumps(code),
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )


def test_program_fails_with_the_number_of_the_cell(tmp_path: Path) -> None:
    finished = run_cells(["1 / 0"], tmp_path)
    assert finished.returncode == 1
    assert "cell 1 of the chapter" in finished.stderr


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in CHAPTERS if path != DEGRADATION], ids=stem)
def test_chapter_runs_without_torch(path: Path, tmp_path: Path) -> None:
    finished = run_cells([code for _, code in cells(path.read_text(encoding="utf-8"))], tmp_path)
    assert finished.returncode == 0, f"{finished.stdout[-2000:]}\n{finished.stderr[-4000:]}"
    end = "PyTorch is missing. Install it, then start this chapter again.\n" if path == PYTORCH else "=== all\n"
    assert finished.stdout.endswith(end)


@every_chapter
def test_chapter_cells_are_short_and_have_known_options(path: Path) -> None:
    """Where a cell is not executed by Sphinx, an unknown option would be part of the code."""
    known = {"hide-cell", "hide-output", "remove-cell", "remove-stderr", "solution"}
    for options, code in cells(path.read_text(encoding="utf-8")):
        tags = re.search(r"^:tags: \[(.*)\]$", options, flags=re.MULTILINE)
        assert set(tags[1].split(", ") if tags else []) <= known
        assert "remove-cell" in options or max(map(len, code.splitlines())) <= 88, code


@every_chapter
def test_chapter_is_plain_markdown_between_its_cells(path: Path) -> None:
    """The same text is a page of the site, a notebook and a page on a code host, which know no directives."""
    page = re.sub(r"^```\{code-cell\}.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert not re.search(r"^(```+|:::+)\{|\{[a-z-]+\}`|^\(\S+\)=$", page, flags=re.MULTILINE)


@every_chapter
def test_index_has_the_minutes_of_the_chapter(path: Path) -> None:
    (minutes,) = re.findall(rf"\({path.name}\) \| ([^|]+) \|", (COURSE / "index.md").read_text(encoding="utf-8"))
    (start,) = re.findall(r"^\*([^.*]+)\.", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[:1]
    assert minutes.lower() in {start.lower(), start.removesuffix(" minutes")}


def test_chapters_display_no_comments_for_tools() -> None:
    """``source`` displays code as it is; "# noqa" and "# type: ignore" explain nothing."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in CHAPTERS)
    sources = re.findall(r"^ *source\(([^)]+)\)", text, flags=re.MULTILINE)
    names = {"functional": functional, "F": functional, "naive_convolution": naive_convolution, "nn": nn}
    arguments = [name.strip() for line in sources for name in line.split(",") if name.strip()]
    displayed = [eval(name, names) for name in arguments if name.partition(".")[0] in names]
    assert functional.conv2d_backward in displayed
    for value in displayed:
        assert not re.search("# (noqa|type: ignore)", inspect.getsource(value)), value


@every_page
def test_rendered_page_is_up_to_date(path: Path) -> None:
    render = program("docs/render.py")
    rendered = render.RENDERED / path.name
    assert rendered.is_file(), "run `make rendered`"
    text = rendered.read_text(encoding="utf-8")
    assert render.stored_hash(text) == render.source_hash(path.read_text(encoding="utf-8")), "run `make rendered`"
    assert not re.search(r"^(```+|:::+)\{|\{[a-z-]+\}`", text, flags=re.MULTILINE)


def test_streams_once_keeps_the_first_part_of_each_stream() -> None:
    """MyST-NB merges a stream's parts into the first one, and leaves the others behind it."""
    first = {"output_type": "stream", "name": "stdout", "text": "epoch 1\nepoch 2\n"}
    figure = {"output_type": "display_data", "data": {}}
    log = {"output_type": "stream", "name": "stderr", "text": "log\n"}
    rest = {"output_type": "stream", "name": "stdout", "text": "epoch 2\n"}
    outputs = [first, figure, log, rest, figure]
    assert program("docs/render.py").streams_once(outputs) == [first, figure, log, figure]


def test_rendered_folder_has_no_other_pages() -> None:
    render = program("docs/render.py")
    assert {path.name for path in render.RENDERED.glob("*.md")} == {path.name for path in PAGES}


def test_notebook_links_lead_to_notebooks_and_headings_as_jupyterlab_names_them(tmp_path: Path) -> None:
    """JupyterLab replaces the spaces of a heading by hyphens, and keeps capitals and question marks."""
    notebooks = program("docs/notebooks.py")
    count = 0
    for path in CHAPTERS:
        text = notebooks.with_notebook_links(path, tmp_path, None)
        for file, heading in re.findall(r"\]\(([\w./-]*\.ipynb)?#([^)]+)\)", text):
            target = COURSE / Path(file).with_suffix(".md") if file else path
            titles = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert heading in {title.replace(" ", "-") for title in titles}, (path.name, file, heading)
            count += 1
    assert count > 10


class Cell(dict[str, Any]):
    """A cell of a notebook, as nbformat has it."""

    def __init__(self, source: str, *tags: str) -> None:
        super().__init__(source=source)
        self.metadata: dict[str, Any] = {"tags": list(tags)}


def test_prepare_cells_leaves_out_tests_of_the_text() -> None:
    cells = [Cell("x = 1"), Cell("assert x == 1", "remove-cell"), Cell("print(x)", "remove-stderr")]
    prepared = program("docs/notebooks.py").prepare_cells(cells, student=False)
    assert [(cell["source"], cell["id"]) for cell in prepared] == [("x = 1", "cell-0"), ("print(x)", "cell-1")]


def test_stub_of_has_each_exercise_once() -> None:
    solution = 'a = gn.course.check("second_block", spec)\nb = gn.course.check("second_block", network)'
    stub = program("docs/notebooks.py").stub_of(solution)
    assert stub.count("def second_block") == stub.count("gn.course.check") == 1


@pytest.mark.parametrize("student", [False, True])
def test_prepare_cell_folds_or_empties_solutions(student: bool) -> None:
    source = 'def conv2d(x): pass\n\nprint(gn.course.check("conv2d", conv2d))'
    cell = Cell(source, "hide-cell", "solution")
    program("docs/notebooks.py").prepare_cell(cell, student=student)
    assert ("def conv2d(x): pass" in cell["source"]) is not student
    assert ("padding=0" in cell["source"]) is student  # the stub
    assert ("jupyter" in cell.metadata) is not student


def test_exercises_chapter_solves_every_exercise() -> None:
    page = (COURSE / "11-exercises.md").read_text(encoding="utf-8")
    names = re.findall(r'gn\.course\.check\("(\w+)"', page)
    hunts = {name for name in gn.course.exercises() if name.startswith("bug_hunt")}
    assert set(names) | hunts == set(gn.course.exercises())


@every_chapter
def test_chapter_needs_no_removed_cell(path: Path) -> None:
    """Notebooks leave out the cells that only test the text."""
    removed: set[str] = set()
    defined: set[str] = set()
    for options, code in cells(path.read_text(encoding="utf-8")):
        names = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)]
        stored = {node.id for node in names if isinstance(node.ctx, ast.Store)}
        if "remove-cell" in options:
            removed |= stored - defined
        else:
            loaded = {node.id for node in names if isinstance(node.ctx, ast.Load)}
            assert not (loaded - stored) & (removed - defined), code
            defined |= stored
