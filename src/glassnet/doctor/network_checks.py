"""What can be wrong inside the network: its gradients, its first weights, its ReLUs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from glassnet.architecture import initial_state_dict
from glassnet.doctor.check import Diagnosis, Reading, graded, rounded
from glassnet.doctor.context import Evidence
from glassnet.engines import Network
from glassnet.errors import GlassnetError
from glassnet.measures.layers import stages
from glassnet.verify.gradients import TOLERANCE, check_state

_MOST_PARAMETERS = 2_000_000  # a check of a larger network takes minutes
LEARNED = 0.5  # a training loss below this share of chance's: whatever may be odd did not keep it from learning


class WrongGradient(Diagnosis):
    name = "a wrong gradient"
    needs = ("run", "data")
    normal = f"every tensor's gradient within {TOLERANCE:.0e} of central differences"
    source = "verify.gradients: float64, the same check as 'glassnet check gradients'"
    advice = (
        "run 'glassnet check gradients': it names the layer",
        "mend that layer's backward (its docstring has the equation) and train anew; no setting can make up for it",
    )

    def read(self, evidence: Evidence) -> Reading | str:
        spec, engine = evidence.spec, evidence.config.get("engine")
        assert spec is not None
        if engine != "numpy":
            return f"the {engine} engine's gradients come from autograd, not from glassnet's layers"
        state = initial_state_dict(
            spec, 0
        )  # fresh weights: the check is of the code, and dead layers have no gradients
        if sum(array.size for array in state.values()) > _MOST_PARAMETERS:
            return f"the check takes minutes at this size; run 'glassnet check gradients {spec.preset}'"
        images, labels = evidence.batch(2)
        try:
            checked = check_state(spec, state, images / max(1.0, float(np.abs(images).max())), labels)
        except GlassnetError as error:
            return str(error)
        worst = checked.worst
        says = f"At {worst.tensor} backward gives {worst.analytic:.4g}, differences of the loss {worst.numeric:.4g}."
        return Reading(worst.error, f"worst error {worst.error:.1e}", None if checked.passed else "high", says)


class DeadFromTheStart(Diagnosis):
    name = "dead ReLUs"
    needs: ClassVar[tuple[str, ...]] = ("recipe", "data")
    normal = "fewer than a quarter of the channels behind a ReLU are 0 for every image"
    source = "Lu et al. 2019, Dying ReLU and Initialization; benchmarks/doctor.md"
    advice: ClassVar[tuple[str, ...]] = (
        "look at the biases of the weights that the training started from (init): they silence these channels",
        "start from fresh weights (He et al. 2015b), or with norm='batch'",
    )
    medium, high = 0.25, 0.35
    fewest = 32  # images: a channel may well have nothing to say of a few

    def read(self, evidence: Evidence) -> Reading | str:
        images, _ = evidence.batch(256)
        if len(images) < self.fewest:
            return _too_few(len(images))
        share = dead_share(evidence.initial, images)
        says = f"Before the first step {share:.0%} of the channels behind a ReLU were 0 for every image."
        return Reading(share, f"{share:.0%} at the start", graded(share, self.medium, self.high), says)


class DiedInTraining(DeadFromTheStart):
    name = "dead ReLUs"
    needs = ("run", "weights", "data")
    advice = (
        "train with a third of the learning rate, or clip_grad_norm=1: large steps push biases below every input",
        "use norm='batch'",
    )

    def read(self, evidence: Evidence) -> Reading | str:
        assert evidence.network is not None
        images, _ = evidence.batch(256)
        if len(images) < self.fewest:
            return _too_few(len(images))
        share = dead_share(evidence.network, images)
        says = f"{share:.0%} of the channels behind a ReLU are 0 for every image; their weights can learn no more."
        return Reading(share, f"{share:.0%} after training", graded(share, self.medium, self.high), says)


class BadInitialization(Diagnosis):
    """Root mean squares through the residual stages at the first step, there and back."""

    name = "bad initialization"
    needs = ("recipe", "data")
    normal = "signals change their size less than 30 times from the stem's input to the last block, gradients likewise"
    source = "He et al. 2015b, eq. 10: the variance must stay about the same from layer to layer; benchmarks/doctor.md"
    advice = (
        "start from glassnet's fresh weights: leave init out, or check the scale of the weights that it names",
        "use norm='batch', which makes signals independent of the weights' size",
        "without normalization use fewer blocks, or keep the shortcuts (skip=True)",
    )
    medium, high = 30.0, 100.0  # times

    def read(self, evidence: Evidence) -> Reading | str:
        forward, backward = signal_change(evidence.initial, *evidence.batch(64))
        name, change = max((("activations", forward), ("gradients", backward)), key=lambda item: _times(item[1]))
        times = _times(change)
        sure = graded(times, self.medium, self.high)
        if sure and evidence.loss < LEARNED:
            sure = "low"  # odd, but it learned
        verb = "explode" if change > 1 else "vanish"
        measured = f"activations ×{rounded(forward)}, gradients ×{rounded(backward)}"
        says = (
            f"At the first step {name} {verb}: on their way through the network their size changes ×{rounded(change)}."
        )
        return Reading(times, measured, sure, says)


def _times(change: float) -> float:
    """How many times larger or smaller; infinite where a signal is lost or not finite."""
    if not math.isfinite(change) or change <= 0:
        return math.inf
    return max(change, 1 / change)


def _too_few(images: int) -> str:
    return f"{images} images, all that fit at this size, are too few to call a channel dead"


def dead_share(network: Network, images: NDArray[Any]) -> float:
    """The share of channels behind ReLUs that are 0 for every image and place, in evaluation mode."""
    names = [name for name in network.activation_names if name.rpartition(".")[2].startswith("relu")]
    outputs = network.activations(images, names)
    dead = np.concatenate([~(output > 0).any(axis=(0, 2, 3)) for output in outputs.values()])  # NaN is no life either
    return float(dead.mean())


def signal_change(network: Network, images: NDArray[Any], labels: NDArray[np.int64]) -> tuple[float, float]:
    """By how much the signal's root mean square grows from the images to the last block's output, and that of the
    gradient from the last block back to the stem; NaN where it is lost on the way."""
    traced = network.trace(images, labels)
    names = stages(network.activation_names)
    back = [_size(traced.activation_gradients[name]) for name in (names[0], names[-1])]
    forward = _ratio(_size(traced.activations[names[-1]]), _size(images))
    return forward, _ratio(back[0], back[1])


def _ratio(size: float, reference: float) -> float:
    return size / reference if reference > 0 else math.nan


def _size(values: NDArray[Any] | Mapping[str, Any]) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.sqrt(np.mean(np.square(np.asarray(values, np.float64)))))
