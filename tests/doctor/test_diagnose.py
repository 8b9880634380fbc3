import json
import math
from pathlib import Path
from typing import Any

import pytest

import glassnet as gn
from glassnet.doctor import DIAGNOSES, diagnose, examine
from glassnet.doctor.check import SURENESS, Diagnosis, Reading
from glassnet.doctor.context import PARTS, Evidence
from glassnet.errors import ConfigError, DataError, GlassnetError, RunError
from glassnet.progress import Progress


@pytest.fixture(scope="module")
def healthy(sound: Path, snapshot: Any) -> Any:
    before = snapshot(sound)
    examined = examine(sound)
    assert snapshot(sound) == before  # looking changes nothing
    return examined


def test_a_healthy_run_is_called_healthy(healthy: Any, sound: Path) -> None:
    assert healthy.findings == []
    assert healthy.sentence == f"{sound} looks healthy: 18 of 18 possible faults were looked for."


def test_json_holds_it_all(healthy: Any) -> None:
    plain = json.loads(json.dumps(healthy.plain(), allow_nan=False))
    assert plain["healthy"] is True
    assert [one["name"] for one in plain["sound"]] == [diagnosis.name for diagnosis in DIAGNOSES]
    assert set(plain["sound"][0]) == {"name", "measured", "value", "normal"}


def test_every_diagnosis_is_explained() -> None:
    for diagnosis in DIAGNOSES:
        assert set(diagnosis.needs) <= set(PARTS)
        for text in (diagnosis.name, diagnosis.normal, diagnosis.source, *diagnosis.advice):
            assert text.strip() == text != ""
            assert not text.endswith(".")


class Made(Diagnosis):
    needs, normal, source, advice = (), "less", "made up", ("do something",)

    def __init__(self, name: str, reading: Reading | str | GlassnetError) -> None:
        self.name, self.reading = name, reading  # type: ignore[misc]

    def read(self, evidence: Evidence) -> Reading | str:
        if isinstance(self.reading, GlassnetError):
            raise self.reading
        return self.reading


def test_the_surest_cause_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    made = (
        Made("a", Reading(1, "1", "medium", "A.")),
        Made("b", Reading(math.inf, "2", "high", "B.")),
        Made("c", Reading(3, "3")),
        Made("d", Reading(4, "4", "high", "D.")),
        Made("e", "nothing to see"),
        Made("f", DataError("too small")),
    )
    monkeypatch.setattr(diagnose, "DIAGNOSES", made)
    examined = examine(data=gn.load_data("digits", samples=100))
    assert [one.diagnosis.name for one in examined.findings] == ["b", "d", "a"]
    assert "b (sureness: high). 2 more below, which may follow from it. 2 could not" in examined.sentence
    plain = examined.plain()
    assert plain["not_checked"] == [{"name": "e", "why": "nothing to see"}, {"name": "f", "why": "too small"}]
    assert examined.unseen_by_reason == {"nothing to see": ["e"], "too small": ["f"]}
    assert plain["findings"][0]["value"] is None  # JSON has no infinity
    assert plain["findings"][0]["advice"] == ["do something"]
    assert all(finding["sure"] in SURENESS for finding in plain["findings"])


def test_what_was_found_in_one_way_is_not_called_sound_in_another(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = Reading(0, "0 before"), Reading(1, "1 after", "high", "A.")
    made = (Made("a", before), Made("a", after), Made("b", before))
    monkeypatch.setattr(diagnose, "DIAGNOSES", made)
    examined = examine(data=gn.load_data("digits", samples=100))
    assert [one.diagnosis.name for one in examined.sound] == ["b"]


def test_images_before_any_training() -> None:
    examined = examine(data="digits")
    assert examined.sentence == (
        "digits (1,347 training and 450 test images) looks healthy: 6 of 18 possible faults were looked for. "
        "12 could not be looked for."
    )


def test_a_run_that_failed_before_its_first_epoch(tmp_path: Path) -> None:
    with pytest.raises(RunError):
        gn.train("tiny", "digits", samples=400, lr=1000, epochs=2, run=tmp_path / "run", progress=Progress())
    examined = examine(tmp_path / "run")
    first = examined.findings[0]
    assert (first.diagnosis.name, first.reading.sure) == ("learning rate too high", "high")
    assert "became" in first.reading.says


def test_neither_run_nor_data() -> None:
    with pytest.raises(ConfigError, match=r"The doctor needs a run, data, or both. Got neither."):
        examine()


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    for data in (None, "digits"):
        with pytest.raises(RunError, match="is not a run folder"):
            examine(tmp_path, data)
