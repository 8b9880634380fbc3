"""A golden reference of a small network, a healthy port of it, and its judge."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from glassnet.verify.golden import Bundle, GoldenReport, check, write
from tests.verify.golden.ports import Tensors, compute_dump, save


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of a small network with every kind of operation of the presets but a projection."""
    return write("tiny-bn", tmp_path_factory.mktemp("golden") / "bundle", steps=1)


@pytest.fixture(scope="session")
def healthy(bundle: Bundle) -> Tensors:
    return compute_dump(bundle)


@pytest.fixture
def judge(bundle: Bundle, tmp_path: Path) -> Callable[..., GoldenReport]:
    """The report on a dump of tensors."""

    def judged(tensors: Tensors, **options: Any) -> GoldenReport:
        return check(bundle.folder, save(tmp_path / "dump.npz", tensors), **options)

    return judged
