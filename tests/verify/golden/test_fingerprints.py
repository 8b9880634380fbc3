"""The numbers of every preset are those that were committed."""

import numpy as np
import pytest

from glassnet.architecture import PRESETS
from tests.verify.golden.fingerprints import FOLDER, case_of, fingerprint, fingerprints

DEEP = ("resnet34", "resnet44", "resnet56", "resnet101", "resnet110", "resnet152")
TOLERANCE = 1e-9  # of the norm; of a sum, in which numbers cancel, a hundred times as much


def differing(preset: str, **fields: object) -> list[str]:
    """Return the tensors that differ from the committed numbers."""
    computed, stored = fingerprints(case_of(preset, **fields)), np.load(FOLDER / f"{preset}.npy")
    assert stored.shape == (len(computed), 10)
    norms = stored[:, 1:2]
    is_same = np.abs(np.array(list(computed.values())) - stored) <= TOLERANCE * norms * [100, *[1] * 9]
    return [name for name, same in zip(computed, is_same.all(axis=1), strict=True) if not same]


@pytest.mark.parametrize("preset", [pytest.param(name, marks=[pytest.mark.slow] * (name in DEEP)) for name in PRESETS])
def test_preset_has_the_committed_numbers(preset: str) -> None:
    assert differing(preset) == []


def test_every_preset_has_a_file_and_all_are_small() -> None:
    paths = sorted(FOLDER.glob("*"))
    assert {path.stem for path in paths} == set(PRESETS)
    assert sum(path.stat().st_size for path in paths) < 1_500_000


def test_another_eps_is_noticed() -> None:
    names = differing("tiny-bn", bn_eps=1.001e-5)
    assert names[0] == "eval/activations/bn1"
    assert not any(name.startswith("inputs/") for name in names)


def test_fingerprint_has_sum_norm_and_elements_from_the_first_to_the_last() -> None:
    assert fingerprint(np.arange(15.0).reshape(3, 5)).tolist() == [105, np.sqrt(1015), 0, 2, 4, 6, 8, 10, 12, 14]
    assert fingerprint(np.array(2.0)).tolist() == [2] * 10
