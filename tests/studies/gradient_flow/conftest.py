import pytest

import glassnet as gn
from glassnet.studies import gradient_flow
from glassnet.studies.gradient_flow import GradientFlowStudy


@pytest.fixture(scope="session")
def study(digits: gn.Dataset) -> GradientFlowStudy:
    return gradient_flow.run_study(digits, depths=(8, 14), norms=("batch",), steps=4, width=4)
