import re

import numpy as np
import pytest

import glassnet as gn
from glassnet.errors import GlassnetError
from glassnet.verify.definition.tensors import compute_defined_groups
from glassnet.verify.golden.cases import GoldenCase

CASE = GoldenCase(gn.spec("tiny", width=4), steps=0)


def test_compute_defined_groups_raises_for_weights_of_another_network() -> None:
    state = CASE.state()
    message = "fc.weight of tiny must have shape (10, 64) by definition. Got none."
    with pytest.raises(GlassnetError, match=f"^{re.escape(message)}$"):
        list(compute_defined_groups(CASE, {key: array for key, array in state.items() if key != "fc.weight"}))
    message = "The weights of tiny must be those of its definition. Got bn1.weight."
    with pytest.raises(GlassnetError, match=f"^{re.escape(message)}$"):
        list(compute_defined_groups(CASE, {**state, "bn1.weight": np.ones(4)}))
