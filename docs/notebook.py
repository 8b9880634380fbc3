"""Write the tour as a notebook without outputs, for `make tour`: python docs/notebook.py build/tour/tour.ipynb"""

import os
import re
import sys
from pathlib import Path

TOUR = Path(__file__).with_name("tour.md")


def linked_as_in_jupyter(tour: str) -> str:
    """Return the tour with links to headings as JupyterLab names them, ``#The-data`` for the site's ``#the-data``."""
    headings = re.findall(r"^##+ (.+)$", tour, flags=re.MULTILINE)
    names = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-"): title.replace(" ", "-") for title in headings}
    return re.sub(r"\]\(#([^)]+)\)", lambda link: f"](#{names[link[1]]})", tour)


def main(path: Path) -> None:
    import nbformat  # from the extra docs, which the tests do not need
    from myst_nb.core.read import read_myst_markdown_notebook

    pages = os.path.relpath(TOUR.parent, path.parent)  # links lead to the other pages' sources
    tour = re.sub(r"\]\((?=[\w-]+\.md)", f"]({pages}/", linked_as_in_jupyter(TOUR.read_text(encoding="utf-8")))
    notebook = read_myst_markdown_notebook(tour)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"  # nbformat draws random ones
        if "hide-cell" in cell.metadata.get("tags", ()):  # a solution: JupyterLab folds it by this name
            cell.metadata["jupyter"] = {"source_hidden": True, "outputs_hidden": True}
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file():
        path.replace(path.with_suffix(".ipynb~"))  # a copy of what a learner wrote
    nbformat.write(notebook, path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
