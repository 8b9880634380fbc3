"""The tour runs: each of its cells, as a plain program, first without PyTorch and then those that need it."""

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

TOUR = Path(__file__).parents[1] / "docs/tour.md"

# Read by a new process, as what is blocked must not be loaded yet: cells as JSON on stdin, what they print on stdout.
PROGRAM = """
import json, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "lightning"):
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
    """The code of a MyST notebook, without the cells' options."""
    found = re.findall(r"^```\{code-cell\}[^\n]*\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    return [re.sub(r"\A(:[^\n]*\n)+", "", cell) for cell in found]


@pytest.mark.slow
def test_every_cell_runs(tmp_path: Path) -> None:
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
    without, _, after = finished.stdout.partition("=== without PyTorch")
    assert "PyTorch is not installed" in without
    assert after.endswith("=== all\n")


def test_the_cells_are_found_without_their_options() -> None:
    page = "Text\n```{code-cell} ipython3\n:tags: [hide-cell]\n:mystnb: {a: b}\nx = 1\n```\n```sh\nls\n```\n"
    assert cells(page) == ["x = 1\n"]


def test_a_cell_that_fails_is_told() -> None:
    told: Any = subprocess.run(
        [sys.executable, "-c", PROGRAM, "numpy"], input='["1 / 0"]', capture_output=True, text=True, check=False
    )
    assert told.returncode == 1
    assert "cell 1 of the tour" in told.stderr
