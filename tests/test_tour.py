"""Tests of the tour: each cell runs as a plain program, first all without PyTorch, then those that need it."""

import inspect
import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from glassnet import nn
from glassnet.nn import functional
from glassnet.verify import naive_convolution

TOUR = Path(__file__).parents[1] / "docs/tour.md"

# Runs in a new process, where PyTorch is not imported yet: cells as JSON on stdin, their output on stdout.
PROGRAM = """
import json, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ImportError(f"{name} is blocked")

def run(cells):
    for number, cell in cells:
        print(f"--- cell {number}", flush=True)
        exec(compile(cell, f"cell {number} of the tour", "exec"), namespace)

namespace = {"__name__": "__main__"}
cells = list(enumerate(json.load(sys.stdin), start=1))
sys.meta_path.insert(0, Blocker())
run(cells)
assert "torch" not in sys.modules
print("=== without PyTorch", flush=True)
if sys.argv[1] == "torch":
    del sys.meta_path[0]
    run([(number, cell) for number, cell in cells if "torch" in cell])
    assert namespace["torch"] is not None
print("=== all")
"""


def cells(page: str) -> list[str]:
    """Return the code of a MyST notebook, without the cells' options."""
    blocks = re.findall(r"^```\{code-cell\}[^\n]*\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    return [re.sub(r"\A(:[^\n]*\n)+", "", cell) for cell in blocks]


@pytest.mark.slow
def test_tour_cells_run_without_and_with_torch(tmp_path: Path) -> None:
    code = cells(TOUR.read_text(encoding="utf-8"))
    assert len(code) > 50
    assert code[0].startswith("FAST_RUN = True")
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, "torch" if find_spec("torch") else "numpy"],
        input=json.dumps(code),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert finished.returncode == 0, f"{finished.stdout[-2000:]}\n{finished.stderr[-4000:]}"
    before, _, after = finished.stdout.partition("=== without PyTorch")
    assert "PyTorch is not installed" in before
    assert after.endswith("=== all\n")


def test_cells_returns_code_without_options() -> None:
    page = "Text\n```{code-cell} ipython3\n:tags: [hide-cell]\n:mystnb: {a: b}\nx = 1\n```\n```sh\nls\n```\n"
    assert cells(page) == ["x = 1\n"]


def test_program_fails_with_the_number_of_the_cell() -> None:
    finished: Any = subprocess.run(
        [sys.executable, "-c", PROGRAM, "numpy"], input='["1 / 0"]', capture_output=True, text=True, check=False
    )
    assert finished.returncode == 1
    assert "cell 1 of the tour" in finished.stderr


def test_tour_displays_no_comments_for_tools() -> None:
    """``source`` displays code as it is; "# noqa" and "# type: ignore" explain nothing."""
    sources = re.findall(r"^ *source\(([^)]+)\)", TOUR.read_text(encoding="utf-8"), flags=re.MULTILINE)
    names = {"functional": functional, "naive_convolution": naive_convolution, "nn": nn}
    displayed = [eval(name, names) for line in sources for name in line.split(",")]
    assert functional.conv2d_backward in displayed
    for value in displayed:
        assert not re.search("# (noqa|type: ignore)", inspect.getsource(value)), value
