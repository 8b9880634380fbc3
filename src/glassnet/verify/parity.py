"""Parity: both engines are the same network, and the one that its papers define, shown tensor by tensor.

The NumPy engine is compared with the PyTorch engine and with ``definition``, which shares no code with either. For each
tensor, with e expected and t another's::

    absolute = max |t − e|        relative = absolute / max |e|        required_tolerance = absolute / scale

``scale`` is max |e| too; of gradients, and of what an optimizer gathers from them, it is at least a millionth of the
largest one in the network, because below that there is rounding alone. ``cases.py`` has the tolerances. Where a tensor
differs, ``faults.py`` finds the operation that is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from math import inf, isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.architecture import ResNetSpec
from glassnet.compute import Compute
from glassnet.engines import build
from glassnet.errors import ConfigError, GlassnetError
from glassnet.initialization import initial_state_dict
from glassnet.recipe import Recipe
from glassnet.training.schedule import learning_rates
from glassnet.verify.faults import Fault, fault_of_row, find_fault
from glassnet.verify.golden.cases import GoldenCase, TensorGroup, compute_groups, max_abs, with_small_images
from glassnet.verify.parity_report import ParityReport, TensorDifference
from glassnet.verify.settings_of_checks import model_and_recipe, usual_batch_size

Array = NDArray[Any]
RECIPE = Recipe(
    lr=1e-4,  # so small that the steps do not amplify the gradients' rounding, even on a tiny batch
    weight_decay=0.1,  # so large that it shows all the same
)
STEPS_PER_EPOCH = 10  # of the schedule that is compared
SMALL_WIDTH = 16  # of a network with a block per stage whose initial weights are compared


def check_parity(
    model: str | ResNetSpec,
    *,
    recipe: Recipe = RECIPE,
    dtype: str = "float64",
    batch_size: int | None = None,
    steps: int = 2,
    seed: int = 0,
    device: str = "cpu",
    kernels: str = "fast",
    **fields: Any,
) -> ParityReport:
    """Compute the same case in both engines and by definition, and compare every tensor.

    In evaluation mode all activations; in training mode all activations, BatchNorm's buffers, the loss, and the
    gradients wrt all activations and parameters; of the recipe the loss and the gradients of the first step, all
    learning rates, and after the steps all weights, buffers and optimizer buffers.

    :param model: a preset or a spec.
    :param recipe: the recipe of the steps. By default SGD with momentum 0.9, lr 1e-4 and weight decay 0.1.
    :param dtype: "float64", or "float32", in which gradients are shown but have no tolerance.
    :param batch_size: by default 2, or 5 if classes have weights or a batch has parts.
    :param steps: number of steps of the optimizer on the one batch.
    :param device: the PyTorch engine's device.
    :param kernels: the NumPy engine's, "fast" or "plain".
    :param fields: fields of the model and the recipe, such as ``dropout=0.5, optimizer="adam"``.
    :raises ConfigError: if the model, dtype or a field is unknown, or a count too small.
    :raises GlassnetError: if PyTorch is needed but not installed, or a tensor is missing or of another shape; names the
        operation that is at fault, if one is found.
    """
    chosen, recipe = model_and_recipe(model, recipe, fields)
    chosen = with_small_images(chosen)
    batch_size = usual_batch_size(recipe) if batch_size is None else batch_size
    case = GoldenCase(chosen, Compute().replace(dtype=dtype).dtype, batch_size, steps, recipe, seed)
    state = case.state()  # drawn once: that takes seconds for large networks
    engines = {
        "NumPy": build(chosen, "numpy", seed, dtype, state=state, kernels=kernels),
        "PyTorch": build(chosen, "torch", seed, dtype, state=state, device=device),
    }
    groups = _in_one_line("NumPy", compute_groups(engines["NumPy"], case, state))
    others = [_Other("PyTorch", compute_groups(engines["PyTorch"], case, state)), _defined(case, state)]
    try:
        rows = (*_shared_rows(case), *_rows(groups, case, others))
    except ConfigError:
        raise
    except GlassnetError as error:
        fault = _find_fault(case, engines)
        raise GlassnetError(f"{error} Fault: {fault}." if fault else str(error)) from error
    report = ParityReport(chosen.preset, "PyTorch", rows)
    if report.first is None:
        return report
    return replace(report, fault=_find_fault(case, engines) or fault_of_row(report.first, rows, case))


def _find_fault(case: GoldenCase, engines: Mapping[str, Any]) -> Fault | None:
    try:
        return find_fault(case, engines)
    except Exception:  # an engine that fails in one check may fail in another
        return None


def _shared_rows(case: GoldenCase) -> Iterator[TensorDifference]:
    """Yield the differences of what the engines share, initial weights and learning rates, from their definition."""
    from glassnet.verify.definition.network import initial_weights
    from glassnet.verify.definition.training import defined_rates

    small = case.spec.replace(blocks=1, width=min(case.spec.width, SMALL_WIDTH))
    initial = initial_state_dict(small, case.seed)
    steps = case.recipe.epochs * STEPS_PER_EPOCH
    rates = {"learning_rates": learning_rates(case.recipe, steps)}
    weights = initial_weights(small, initial, case.seed)
    for name, computed, defined in (
        ("initial", initial, weights),
        ("steps", rates, {"learning_rates": np.array(defined_rates(case.recipe, steps))}),
    ):
        group = TensorGroup(name, computed)
        for key, array in defined.items():
            difference = _difference(group, key, array, group.tolerance("float64"))
            yield difference if difference.passed else replace(difference, wrong_in="both engines")


def _defined(case: GoldenCase, state: Mapping[str, Array]) -> _Other:
    from glassnet.verify.definition.tensors import compute_defined_groups

    groups = compute_defined_groups(case, state)
    return _Other("the definition", (TensorGroup(name, tensors) for name, tensors in groups))


def _in_one_line(title: str, groups: Iterator[TensorGroup]) -> Iterator[TensorGroup]:
    """Yield groups; an engine that fails with another error than glassnet's fails in one line."""
    last = ""
    while True:
        try:
            group = next(groups)
        except StopIteration:
            return
        except GlassnetError:
            raise
        except Exception as error:  # a wrong layer may raise anything
            reason = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
            raise GlassnetError(f"{title} must compute all tensors{last}. Got {reason}.") from error
        last = f" after {group.name}"
        yield group


def _rows(groups: Iterable[TensorGroup], case: GoldenCase, others: list[_Other]) -> Iterator[TensorDifference]:
    for group in groups:
        tolerance = group.tolerance(case.dtype)
        sides = [other.tensors_of(group) for other in others]
        for key in sides[0]:
            yield _worst(group, key, [side[key] for side in sides], tolerance)
    for other in others:
        other.check_no_extra()


class _Other:
    """The numbers of an engine, or of the definition, beside those of the NumPy engine.

    :param groups: in the NumPy engine's order.
    """

    def __init__(self, title: str, groups: Iterator[TensorGroup]) -> None:
        self.title, self.groups = title, _in_one_line(title, groups)

    def tensors_of(self, group: TensorGroup) -> Mapping[str, Array]:
        """Return the tensors of the same group.

        :raises GlassnetError: if only one of the two has a tensor.
        """
        other = next(self.groups, None)
        if other is None or other.name != group.name:
            received = "nothing more" if other is None else other.name
            raise GlassnetError(f"{self.title} must have {group.name}, as NumPy has. Got {received}.")
        name, tensors = group.name, other.tensors
        if missing := group.tensors.keys() - tensors.keys():
            raise GlassnetError(f"{self.title} must have {name}/{min(missing)}. Got it from NumPy alone.")
        if extra := tensors.keys() - group.tensors.keys():
            raise GlassnetError(f"NumPy must have {name}/{min(extra)}. Got it from {self.title} alone.")
        return {key: tensors[key] for key in group.tensors}

    def check_no_extra(self) -> None:
        """Check that there is no other group.

        :raises GlassnetError: if there is one.
        """
        if (group := next(self.groups, None)) is not None:
            raise GlassnetError(f"NumPy must have {group.name}. Got it from {self.title} alone.")


def _worst(group: TensorGroup, key: str, arrays: list[Array], tolerance: float) -> TensorDifference:
    """Return the largest difference from NumPy's tensor, and who is alone with its numbers."""
    differences = [_difference(group, key, array, tolerance) for array in arrays]
    worst = max(differences, key=lambda difference: difference.required_tolerance)
    if worst.passed or len(arrays) == 1:
        return worst
    agrees = [difference.passed for difference in differences]
    if agrees == [True, False]:
        return replace(worst, wrong_in="both engines")
    if agrees == [False, True]:
        return replace(worst, wrong_in="PyTorch")
    others_agree = _difference(replace(group, tensors={key: arrays[0]}), key, arrays[1], tolerance).passed
    return replace(worst, wrong_in="NumPy") if others_agree else worst


def _difference(group: TensorGroup, key: str, array: Array, tolerance: float) -> TensorDifference:
    name, expected = f"{group.name}/{key}", group.tensors[key]
    if array.shape != expected.shape:
        raise GlassnetError(f"{name} must have shape {expected.shape}. Got {array.shape}.")
    with np.errstate(over="ignore", invalid="ignore"):
        absolute = max_abs(array.astype(np.float64) - expected.astype(np.float64))

    def relative_to(scale: float) -> float:
        if absolute == 0:
            return 0.0
        return absolute / scale if isfinite(absolute) and 0 < scale < inf else inf

    relative, required = relative_to(max_abs(expected)), relative_to(group.scales[key])
    return TensorDifference(name, absolute if isfinite(absolute) else inf, relative, required, tolerance)
