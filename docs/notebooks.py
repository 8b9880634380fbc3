"""Write the pages of the course as notebooks without outputs: python docs/notebooks.py build/course

The folder gets one notebook per page, with the solutions folded, and in ``student/`` the same without solutions.
"""

import os
import re
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
COURSE = DOCS / "course"


def write_notebooks(folder: Path, *, student: bool, site: Path | None = None) -> None:
    """Write the chapters and the glossary as notebooks into a folder.

    An older notebook that differs, such as one in which a learner wrote, is kept as ``NAME.ipynb~``.

    :param student: whether to leave out the solutions.
    :param site: the built site that links to other pages lead to; by default they lead to the pages' sources.
    """
    for page in sorted(COURSE.glob("*.md")):
        if page.stem not in ("index", "lesson-plan"):  # of the site alone
            write_notebook(page, folder, student=student, site=site)


def write_notebook(page: Path, folder: Path, *, student: bool, site: Path | None) -> None:
    import nbformat  # from the extra docs, which the tests do not need
    from myst_nb.core.read import read_myst_markdown_notebook

    notebook = read_myst_markdown_notebook(with_notebook_links(page, folder, site))
    notebook.cells = prepare_cells(notebook.cells, student=student)
    path = folder / f"{page.stem}.ipynb"
    folder.mkdir(parents=True, exist_ok=True)
    text = nbformat.writes(notebook) + "\n"
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        path.replace(path.with_suffix(".ipynb~"))
    path.write_text(text, encoding="utf-8")


def prepare_cells(cells: list[Any], *, student: bool) -> list[Any]:
    """Return the cells that a notebook has.

    Cells that are removed from the site test its text; they would fail where a learner changes something.
    """
    cells = [cell for cell in cells if "remove-cell" not in cell.metadata.get("tags", ())]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"  # nbformat draws random ones
        prepare_cell(cell, student=student)
    return cells


def prepare_cell(cell: Any, *, student: bool) -> None:
    """Fold a solution for JupyterLab, or replace it by what a learner begins with."""
    tags = cell.metadata.get("tags", ())
    if student and "solution" in tags:
        cell["source"] = stub_of(cell["source"])
        cell.metadata.pop("tags")
    elif "hide-cell" in tags:
        cell.metadata["jupyter"] = {"source_hidden": True, "outputs_hidden": True}


def stub_of(solution: str) -> str:
    """Return the stubs of the functions that a solution checks, with their checks."""
    import glassnet as gn

    exercises = gn.course.exercises()
    names = dict.fromkeys(re.findall(r'gn\.course\.check\("(\w+)"', solution))
    parts = [f'{exercises[name].stub}\n\nprint(gn.course.check("{name}", {name}))' for name in names]
    return "\n\n\n".join(parts) or "# Your solution:\n"


def with_notebook_links(page: Path, folder: Path, site: Path | None) -> str:
    """Return the text of a page whose links lead to the notebooks beside it, and to the other pages.

    JupyterLab names the heading of ``#the-data`` ``#The-data``.
    """

    def link(match: re.Match[str]) -> str:
        file, heading = match["file"], match["heading"] or ""
        target = (page.parent / file).resolve() if file else page
        if target.parent == page.parent and target.stem not in ("index", "lesson-plan"):
            path = f"{target.stem}.ipynb" if file else ""
            heading = heading_names(target)[heading] if heading else ""
        elif site is None:
            path = os.path.relpath(target, folder)
        else:
            path = os.path.relpath(site / target.relative_to(DOCS).with_suffix(".html"), folder)
        return f"]({path}{'#' if heading else ''}{heading})"

    text = page.read_text(encoding="utf-8")
    return re.sub(r"\]\((?P<file>[\w./-]+\.md)?(?:#(?P<heading>[^)\s]+))?\)", link, text)


def heading_names(page: Path) -> dict[str, str]:
    """Return JupyterLab's names of a page's headings by the site's."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-"): title.replace(" ", "-") for title in titles}


if __name__ == "__main__":
    write_notebooks(Path(sys.argv[1]), student=False)
    write_notebooks(Path(sys.argv[1], "student"), student=True)
