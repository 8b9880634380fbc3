import json
import math
from dataclasses import dataclass

import numpy as np

from glassnet.studies.study import Study, plain


@dataclass(frozen=True)
class Measured(Study):
    name: str
    values: tuple[float, ...]
    table: dict[str, object]

    @property
    def words(self) -> list[str]:
        return [f"{self.name} has {len(self.values)} values."]


def test_numbers_are_all_fields_and_the_words_as_json_takes_them() -> None:
    study = Measured("a", (1.0, math.inf), {"array": np.array([1.5, np.nan]), "count": np.int64(3), "none": None})
    assert json.loads(json.dumps(study.numbers(), allow_nan=False)) == {
        "name": "a",
        "values": [1.0, None],
        "table": {"array": [1.5, None], "count": 3, "none": None},
        "words": ["a has 2 values."],
    }


def test_plain_looks_into_dataclasses_within() -> None:
    assert plain([Measured("b", (), {})]) == [{"name": "b", "values": [], "table": {}}]
    assert plain(True) is True
