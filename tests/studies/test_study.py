import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from glassnet.measures.seed_stats import PairedDifference
from glassnet.studies import ablation, convolution, degradation, gradient_flow, lr_range, parameters, sweep
from glassnet.studies.study import Study, default_output, format_paired_test, to_builtin


@dataclass(frozen=True, repr=False)
class Measured(Study):
    name: str
    values: tuple[float, ...]
    table: dict[str, object]
    image: object = field(default=None, repr=False)

    @property
    def summary(self) -> list[str]:
        return [f"{self.name} has {len(self.values)} values."]


def test_to_dict_returns_fields_and_summary_as_json_takes_them() -> None:
    study = Measured("a", (1.0, math.inf), {"array": np.array([1.5, np.nan]), "count": np.int64(3), "none": None})
    assert json.loads(json.dumps(study.to_dict(), allow_nan=False)) == {
        "name": "a",
        "values": [1.0, None],
        "table": {"array": [1.5, None], "count": 3, "none": None},
        "summary": ["a has 2 values."],
    }


def test_repr_is_the_first_sentence() -> None:
    assert repr(Measured("a", (), {})) == "Measured('a has 0 values.')"
    for module in (ablation, convolution, degradation, gradient_flow, lr_range, parameters, sweep):
        (study,) = (kind for kind in vars(module).values() if isinstance(kind, type) and kind.__base__ is Study)
        assert study.__repr__ is Study.__repr__


def test_to_builtin_converts_dataclasses_within() -> None:
    assert to_builtin([Measured("b", (), {})]) == [{"name": "b", "values": [], "table": {}}]
    assert to_builtin(True) is True


@pytest.mark.parametrize(
    ("subjects", "name"),
    [
        (["digits"], "study-sweep-digits.html"),
        ([Path("runs", "a")], "study-sweep-runs-a.html"),
        (["../runs/a", None, "b"], "study-sweep-runs-a-b.html"),
        (["/data/my cats/"], "study-sweep-data-my-cats.html"),
        (["."], "study-sweep.html"),
        (["x" * 300], f"study-sweep-{'x' * 100}.html"),
    ],
)
def test_default_output_names_study_and_subject(subjects: list[Path | str | None], name: str) -> None:
    assert default_output("sweep", *subjects) == Path(name)


def test_format_paired_test_names_interval_test_and_p() -> None:
    difference = PairedDifference(-0.011, -0.025, 0.002, 0.084)
    assert format_paired_test(difference) == "95% interval −2.5 to 0.2; not significant, paired t-test, p = 0.084"
    assert format_paired_test(PairedDifference(0.1)) == "one seed, not tested"
