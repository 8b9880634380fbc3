"""The search: which causes it prefers, and in which operation."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F  # noqa: N812

from glassnet.verify.golden.causes import ALTERNATIVES, KEYS, search
from glassnet.verify.golden.causes.alternative import Alternative, InapplicableError, TensorAlternative, with_output
from glassnet.verify.golden.evaluation import PassInputs
from glassnet.verify.golden.judging import PassTensors
from glassnet.verify.golden.operations import IMAGES, Operation
from tests.verify.golden.causes.planting import diagnose, diagnose_layer

Array = NDArray[Any]
X = np.random.default_rng(0).standard_normal((2, 3))
RELU: dict[str, Any] = {}


def verdict(monkeypatch: pytest.MonkeyPatch, *alternatives: Any) -> str:
    """What is said of a ReLU that lets all pass, forward and backward, where the alternatives alone are tried."""
    monkeypatch.setattr(search, "ALTERNATIVES", alternatives)
    return diagnose_layer("ReLU", {}, X, {}, np.ones_like(X), {"y": X, "dx": np.ones_like(X)})


def through(site: Any) -> Any:
    right = with_output(site, site.x)
    return type(right)(site.x, lambda dy: type(right.backward(dy))((dy,)))


def output_alone(site: Any) -> Any:
    return with_output(site, site.x)


def inapplicable(site: Any) -> Any:
    raise InapplicableError


def other_shape(site: Any) -> Any:
    return with_output(site, site.x.reshape(3, 7))


def test_find_cause_prefers_what_explains_more_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    part = Alternative("part", ("ReLU",), "forward", output_alone)
    whole = Alternative("whole", (), "forward", through)
    assert verdict(monkeypatch, part, whole) == "whole at layer"
    assert verdict(monkeypatch, whole, part) == "whole at layer"


def test_find_cause_takes_the_first_of_equals(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (Alternative(key, (), "forward", through) for key in ("first", "second"))
    assert verdict(monkeypatch, first, second) == "first at layer"


def test_find_cause_leaves_out_other_kinds_directions_and_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    for alternative in (
        Alternative("another kind", ("Conv2d",), "forward", through),
        Alternative("another pass", (), "backward", through),
        Alternative("impossible", (), "forward", inapplicable),
        Alternative("another shape", (), "forward", other_shape),
        TensorAlternative("another tensor", (), "forward", lambda judgement, operation: False),
    ):
        assert verdict(monkeypatch, alternative) == "unknown at layer"


def test_find_cause_asks_alternatives_for_the_tensor_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def explains(judgement: Any, operation: Operation) -> bool:
        asked.append((judgement.tensor, operation.name))
        return judgement.direction == "forward"

    assert verdict(monkeypatch, TensorAlternative("seen", (), "forward", explains)) == "seen at layer"
    assert asked == [("train/activations/layer", "layer"), ("train/activation_gradients/input", "layer")]


def test_find_cause_settles_which_of_several_operations_is_at_fault() -> None:
    """Two convolutions, of which the port has the last output only."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2, 3, 6, 5))
    kernels = {name: rng.standard_normal((3, 3, 3, 3)) for name in ("a", "b")}
    attributes = {"in_channels": 3, "out_channels": 3, "kernel_size": 3, "stride": 1, "padding": 1, "bias": False}
    listed = tuple(
        Operation(name, "Conv2d", (source,), (3, 6, 5), attributes, {f"{name}.weight": (3, 3, 3, 3)})
        for name, source in (("a", IMAGES), ("b", "a"))
    )
    given = PassInputs(x, np.zeros(2, np.int64), {f"{name}.weight": w for name, w in kernels.items()})
    for wrong in kernels:
        a, b = (torch.tensor(w).flip(2, 3) if name == wrong else torch.tensor(w) for name, w in kernels.items())
        z = F.conv2d(F.conv2d(torch.tensor(x), a, padding=1), b, padding=1).numpy()
        port = PassTensors("eval", {"b": z}, {}, {}, {})
        assert diagnose(listed, given, port, "float64") == f"flipped kernel at {wrong}"


def test_find_cause_tries_images_also_where_the_last_of_many_tensors_is_the_only_one() -> None:
    rng = np.random.default_rng(2)
    x, w = rng.standard_normal((2, 3, 4, 4)), rng.standard_normal((3, 3, 1, 1))
    attributes = {"in_channels": 3, "out_channels": 3, "kernel_size": 1, "stride": 1, "padding": 0, "bias": False}
    names = [IMAGES, *(f"relu{number}" for number in range(25))]
    relus = [Operation(name, "ReLU", (source,), (3, 4, 4)) for source, name in pairwise(names)]
    conv = Operation("conv", "Conv2d", (names[-1],), (3, 4, 4), attributes, {"conv.weight": w.shape})
    given = PassInputs(x, np.zeros(2, np.int64), {"conv.weight": w})
    y = F.conv2d(torch.tensor(x[:, ::-1].copy()).relu(), torch.tensor(w)).numpy()
    port = PassTensors("eval", {"conv": y}, {}, {}, {})
    assert diagnose((*relus, conv), given, port, "float64").startswith("BGR at relu0")


def test_every_key_has_a_sentence() -> None:
    assert {alternative.key for alternative in ALTERNATIVES} <= set(KEYS)
