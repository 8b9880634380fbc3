from dataclasses import replace

import pytest

from glassnet.studies.degradation import DegradationStudy
from tests.studies.degradation.made_up import DEGRADED, made_up


@pytest.fixture
def diverged() -> DegradationStudy:
    """A study whose last run, of a residual network of 56 layers, diverged in its first epoch."""
    study = made_up(DEGRADED)
    *others, last = study.curves
    return replace(study, curves=(*others, replace(last, error=(), loss=(), test_error=(), diverged=True)))
