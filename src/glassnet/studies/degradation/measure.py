"""Training errors of plain and residual networks of several depths, their differences and the tests of these."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glassnet.data import Dataset, load_data
from glassnet.errors import ConfigError
from glassnet.formats import join_words
from glassnet.measures.seed_stats import PairedDifference, SeedStats, fraction_difference, paired_difference
from glassnet.nn.checks import check_int
from glassnet.pages.text import format_p_value, format_points
from glassnet.progress import Progress
from glassnet.recipe import Recipe
from glassnet.studies.study import Study, format_paired_test
from glassnet.studies.trials import Trial, TrialResult, run_trials
from glassnet.training.log_line import name_test_set
from glassnet.training.run import spec_for_data

DEPTHS, NORMS, SEEDS, EPOCHS, WIDTH = (8, 20, 32, 56), ("batch", "none"), 3, 10, 8
RECIPE = Recipe(lr=0.1, schedule="one-cycle", nesterov=True, batch_size=128, clip_grad_norm=5.0)
NORM_TITLES = {"batch": "With batch normalization", "none": "Without normalization"}
NETWORKS = {"plain": False, "residual": True}
FULL_REMOVAL = 0.95  # fraction of the degradation that counts as all of it if the remainder is not significant


@dataclass(frozen=True)
class TrainingCurve:
    """Metrics of one run after each epoch, of all images in evaluation mode. A run that diverged has fewer epochs."""

    norm: str
    residual: bool
    depth: int
    seed: int
    error: tuple[float, ...]  # error rate of the training images
    loss: tuple[float, ...]  # cross-entropy of the training images, in nats
    test_error: tuple[float, ...]
    diverged: bool


@dataclass(frozen=True, repr=False)
class DegradationStudy(Study):
    """Plain and residual networks of the same depths, from the same initial weights, over the same batches."""

    data: str
    images: int  # number of training images
    epochs: int
    width: int
    curves: tuple[TrainingCurve, ...]

    @property
    def norms(self) -> list[str]:
        """The normalizations, in the order of the curves."""
        return list(dict.fromkeys(curve.norm for curve in self.curves))

    @property
    def depths(self) -> list[int]:
        """The depths, from the smallest."""
        return sorted({curve.depth for curve in self.curves})

    @property
    def seeds(self) -> list[int]:
        """The seeds, from the smallest."""
        return sorted({curve.seed for curve in self.curves})

    def select(self, norm: str, residual: bool, depth: int) -> list[TrainingCurve]:
        """Return the curves of one network in the order of their seeds."""
        network = (norm, residual, depth)
        curves = [curve for curve in self.curves if (curve.norm, curve.residual, curve.depth) == network]
        return sorted(curves, key=lambda curve: curve.seed)

    def final(self, norm: str, residual: bool, depth: int, metric: str = "error") -> SeedStats | None:
        """Return a metric of one network after the last epoch, by seed; None if a run diverged."""
        curves = self.select(norm, residual, depth)
        if any(curve.diverged for curve in curves):
            return None
        return SeedStats(tuple(getattr(curve, metric)[-1] for curve in curves))

    def depth_effect(self, norm: str, residual: bool) -> PairedDifference | None:
        """Return the final training error of the deepest network − that of the shallowest, paired by seed."""
        deepest, shallowest = (self.final(norm, residual, self.depths[index]) for index in (-1, 0))
        return _difference(deepest, shallowest)

    def skip_effect(self, norm: str, depth: int) -> PairedDifference | None:
        """Return the final training error of the plain network − that of the residual one, paired by seed."""
        return _difference(self.final(norm, False, depth), self.final(norm, True, depth))

    def interaction_effect(self, norm: str) -> PairedDifference | None:
        """Return how much more the error of the plain network grows with depth than that of the residual one."""
        ends = [self.final(norm, residual, self.depths[index]) for residual in (False, True) for index in (-1, 0)]
        values = [end.values for end in ends if end is not None]
        if len(values) < 4:
            return None
        plain, residual = (
            [deep - shallow for deep, shallow in zip(*pair, strict=True)] for pair in (values[:2], values[2:])
        )
        return paired_difference(plain, residual)

    @property
    def summary(self) -> list[str]:
        sentences = []
        for norm in self.norms:
            title = NORM_TITLES[norm]
            sentences.append(f"{title}, {self._conclusion(norm)} {self._skip_summary(norm)}")
            plain, residual = (self._depth_summary(norm, residual) for residual in (False, True))
            sentences.append(f"{title}, plain {plain} Residual {residual}")
        return [*sentences, self._test_summary()]

    def _depth_summary(self, norm: str, residual: bool) -> str:
        ends = [self.final(norm, residual, depth) for depth in self.depths]
        errors = join_words(["divergence" if end is None else f"{end.mean:.1%}" for end in ends])
        return (
            f"networks of {join_words(list(map(str, self.depths)))} layers reach training errors of {errors}. From "
            f"{self.depths[0]} to {self.depths[-1]} layers {_change(self.depth_effect(norm, residual))}."
        )

    def _conclusion(self, norm: str) -> str:
        """Return the study's statement about depth and skip connections, or the opposite one."""
        plain, residual = (self.depth_effect(norm, residual) for residual in (False, True))
        interaction = self.interaction_effect(norm)
        if plain is None or residual is None or interaction is None:
            return "some runs diverged, so the effects of depth and skip connections are not tested."
        if plain.sign > 0:
            change = f"rises{self._significantly} with depth: degradation, not overfitting"
        elif plain.sign < 0:
            change = f"falls{self._significantly} with depth, the opposite of degradation"
        else:
            change = f"does not change{self._significantly} with depth"
        statement = f"the training error of the plain network {change}."
        if plain.sign > 0 and interaction.sign > 0:
            removed = 1 - residual.mean / plain.mean
            is_full = removed >= FULL_REMOVAL and residual.sign <= 0
            return f"{statement} Skip connections remove {'it' if is_full else f'{min(removed, 1):.0%} of the rise'}."
        if residual.sign > 0:
            remark = " Skip connections do not remove the degradation." if plain.sign > 0 else ""
            return f"{statement} That of the residual network rises{self._significantly} with depth.{remark}"
        return f"{statement} The effect of skip connections on it is not significant." if plain.sign > 0 else statement

    @property
    def _significantly(self) -> str:
        return " significantly" if len(self.seeds) > 1 else ""

    def _skip_summary(self, norm: str) -> str:
        effects = {depth: self.skip_effect(norm, depth) for depth in self.depths}
        lower = {str(depth): effect for depth, effect in effects.items() if effect is not None and effect.sign > 0}
        claim = f"have a{self._significantly} lower training error than plain ones"
        if not lower:
            return f"At no depth do residual networks {claim}."
        p_values = [effect.p_value for effect in lower.values() if effect.p_value is not None]
        largest = "largest " if len(p_values) > 1 else ""
        test = f" (paired t-test, {largest}{format_p_value(max(p_values))})" if p_values else ""
        return f"Residual networks {claim} at {join_words(list(lower))} layers{test}."

    def _test_summary(self) -> str:
        if len(self.seeds) == 1:
            return "Each number comes from one seed, so no difference is tested."
        return (
            f"Errors are means over {len(self.seeds)} seeds. Differences are tested at the 5% level by the paired "
            "t-test over the seeds, without correction for the number of tests. The networks of one seed see the same "
            "batches, and a plain and a residual network of one depth start from the same weights."
        )


def _change(effect: PairedDifference | None) -> str:
    if effect is None:
        return "the change is not tested, since a run diverged"
    points = format_points(abs(effect.mean))
    change = f"rises by {points}" if effect.mean > 0 else f"falls by {points}"
    if points == "0.0":
        change = "changes by less than 0.05"
    return f"the error {change} percentage points ({format_paired_test(effect)})"


def _difference(first: SeedStats | None, second: SeedStats | None) -> PairedDifference | None:
    return None if first is None or second is None else fraction_difference(first.values, second.values)


def run_study(
    data: str | Dataset = "digits",
    *,
    depths: Sequence[int] = DEPTHS,
    norms: Sequence[str] = NORMS,
    seeds: int = SEEDS,
    epochs: int = EPOCHS,
    width: int = WIDTH,
    folder: Path | str | None = None,
    engine: str = "numpy",
    workers: int = 1,
    progress: Progress | None = None,
    **fields: Any,
) -> DegradationStudy:
    """Train plain and residual networks of He et al.'s 6n + 2 layers (2015, sec. 4.2) and compare training errors.

    The two networks of one depth, normalization and seed start from the same weights and see the same batches: the
    shortcuts have no parameters (option A). Finished runs in the folder are reused.

    :param data: a Dataset, or a source as ``load_data`` takes it.
    :param seeds: number of seeds, from 0.
    :param width: number of channels of the first stage.
    :param folder: folder of the runs; None means ``studies/degradation-DATA``.
    :param workers: number of processes that train at the same time; see ``run_trials``.
    :param progress: receives the progress of all runs together; None is silent.
    :param fields: further fields of ResNetSpec that all networks share, such as ``shortcut``.
    :raises ConfigError: if a depth is not 6n + 2, or there are fewer than two depths, no norm or no seed.
    :raises RunError: if a run in the folder has other settings.
    """
    depths = _check_depths(depths)
    if not norms:
        raise ConfigError(f"norms must be one or several of {', '.join(NORMS)}. Got {list(norms)}.")
    check_int("seeds", seeds)
    dataset = data if isinstance(data, Dataset) else load_data(data)
    source = Path(str(dataset.source["source"])).name
    trials = {
        (norm, residual, depth, seed): _trial(dataset, norm, residual, depth, epochs, seed, {"width": width, **fields})
        for norm in dict.fromkeys(norms)
        for depth in depths
        for residual in NETWORKS.values()
        for seed in range(seeds)
    }
    results = run_trials(
        list(trials.values()),
        dataset,
        Path("studies", f"degradation-{source}") if folder is None else folder,
        engine=engine,
        workers=workers,
        evaluate_train=True,
        progress=progress,
    )
    curves = tuple(_training_curve(network, result) for network, result in zip(trials, results, strict=True))
    return DegradationStudy(source, len(dataset.train), epochs, width, curves)


def _check_depths(depths: Sequence[int]) -> list[int]:
    for depth in depths:
        if depth < 8 or depth % 6 != 2:
            raise ConfigError(f"depths must be 6n + 2 with n of at least 1, such as 8, 20 or 56. Got {depth}.")
    different = sorted(set(depths))
    if len(different) < 2:
        raise ConfigError(f"depths must be at least two that differ. Got {different}.")
    return different


def _trial(
    data: Dataset, norm: str, residual: bool, depth: int, epochs: int, seed: int, fields: dict[str, Any]
) -> Trial:
    varied = {"blocks": (depth - 2) // 6, "norm": norm, "skip": residual}
    spec = spec_for_data("resnet20", data, **{**fields, **varied})
    name = f"{'residual' if residual else 'plain'}-{depth},norm={norm},seed={seed}"
    return Trial(name, spec, RECIPE.replace(epochs=epochs, seed=seed))


def _training_curve(network: tuple[str, bool, int, int], result: TrialResult) -> TrainingCurve:
    error = tuple(1 - record["train_evaluated_accuracy"] for record in result.history)
    test_error = tuple(1 - record[f"{name_test_set(record)}_accuracy"] for record in result.history)
    loss = tuple(record["train_evaluated_loss"] for record in result.history)
    return TrainingCurve(*network, error, loss, test_error, diverged=bool(result.failure))
