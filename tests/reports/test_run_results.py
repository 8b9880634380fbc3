from pathlib import Path

import pytest

from glassnet.reports.run_results import short_run_names


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["runs/a", "runs/b"], ["a", "b"]),
        (["one/a", "two/a", "two/b"], ["one/a", "two/a", "two/b"]),
        (["runs/a", "runs/a", "runs/b", "runs/./a"], ["a", "a (2)", "b", "a (3)"]),
    ],
)
def test_short_run_names_are_as_short_as_possible(paths, names):
    assert short_run_names([Path(path) for path in paths]) == names
