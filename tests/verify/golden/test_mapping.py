"""Mappings of a bundle's names to those of a dump."""

import json
import re
from pathlib import Path

import pytest

from glassnet.errors import DataError
from glassnet.verify.golden.mapping import resolve_mapping

KNOWN = ["eval/activations/conv1", "eval/activations/bn1", "train/activations/conv1", "train/loss"]


def test_resolve_mapping_takes_names_and_patterns() -> None:
    mapping = {"train/loss": "l", "eval/activations/{name}": "forward.{name}"}
    stored = ["l", "forward.conv1", "forward.bn2"]
    assert resolve_mapping(mapping, KNOWN, stored) == {"train/loss": "l", "eval/activations/conv1": "forward.conv1"}


def test_resolve_mapping_prefers_full_names_to_patterns() -> None:
    mapping = {"eval/activations/{name}": "{name}", "eval/activations/conv1": "first"}
    stored = ["conv1", "bn1", "first"]
    found = resolve_mapping(mapping, KNOWN, stored)
    assert found == {"eval/activations/conv1": "first", "eval/activations/bn1": "bn1"}


def test_resolve_mapping_may_give_one_tensor_two_names() -> None:
    mapping = {"eval/activations/conv1": "a", "train/activations/conv1": "a"}
    assert resolve_mapping(mapping, KNOWN, ["a"]) == mapping


def test_resolve_mapping_reads_a_file(tmp_path: Path) -> None:
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"train/loss": "l"}), encoding="utf-8")
    assert resolve_mapping(path, KNOWN, ["l"]) == {"train/loss": "l"}


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        ({"train/los": "l"}, "A name in mapping must be one of eval/activations/conv1, eval/activations/bn1"),
        ({"train/los": "l"}, "Got 'train/los'; did you mean 'train/loss'?"),
        (
            {"train/loss": "losss"},
            "train/loss in mapping must lead to a tensor of the dump. Got 'losss'; did you mean 'loss'?",
        ),
        ({"nothing/{name}": "{name}"}, "nothing/{name} in mapping must lead to a tensor of the dump. Got '{name}'."),
        ({"eval/{name}": "name"}, "{name} in mapping must be in both names of a pair. Got 'eval/{name}': 'name'."),
        ({"{name}/{name}": "{name}"}, "must be in both names of a pair"),
    ],
)
def test_resolve_mapping_raises_for_names_that_are_none(mapping: dict[str, str], told: str) -> None:
    with pytest.raises(DataError, match=re.escape(told)):
        resolve_mapping(mapping, KNOWN, ["loss", "l"])


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"a": 1}', '{"a": ["b"]}', "[" * 100_000, "\ufeff{}"])
def test_resolve_mapping_raises_for_a_file_that_is_no_mapping(tmp_path: Path, text: str) -> None:
    path = tmp_path / "map.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"map\.json must be a JSON (file|object of names)\. Got") as raised:
        resolve_mapping(path, KNOWN, ["l"])
    assert "\n" not in str(raised.value)


def test_resolve_mapping_raises_for_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere must be a JSON file\. Got: "):
        resolve_mapping(tmp_path / "nowhere", KNOWN, ["l"])
