"""Degradation: a deeper plain network has the larger training error, and the skip connection removes that."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from glassnet.data import Dataset, load_data
from glassnet.errors import ConfigError
from glassnet.measures.seed_stats import PairedDifference, SeedStats, fraction_difference, paired_difference
from glassnet.pages.page import Page, Section, Table
from glassnet.pages.text import pluralize
from glassnet.progress import Progress
from glassnet.recipe import Recipe
from glassnet.studies import degradation_figures as figures
from glassnet.studies.study import Study
from glassnet.studies.trials import Trial, TrialResult, run_trials
from glassnet.training.run import spec_for_data

DEPTHS, NORMS, SEEDS, EPOCHS, WIDTH = (8, 20, 32, 56), ("batch", "none"), 3, 10, 8
FOLDER = Path("studies", "degradation")
ALL_OF_IT = 0.95  # a share of the degradation that goes for all of it where chance explains the rest
_ENDS = {"training error": "error", "training loss": "loss", "test error": "test_error"}
RECIPE = Recipe(lr=0.1, schedule="one-cycle", nesterov=True, batch_size=128, clip_grad_norm=5.0)
NORM_NAMES = {"batch": "with batch normalization", "none": "without normalization"}


@dataclass(frozen=True)
class Descent:
    """One training: after each epoch the share of the training images that the network names wrongly, and their
    cross-entropy, both of all images in evaluation mode; and the share of the test images."""

    norm: str
    residual: bool
    depth: int
    seed: int
    error: tuple[float, ...]
    loss: tuple[float, ...]
    test_error: tuple[float, ...]
    diverged: bool

    @property
    def kind(self) -> str:
        return "residual" if self.residual else "plain"


@dataclass(frozen=True)
class DegradationStudy(Study):
    """Plain and residual networks of the same depths, from the same weights, over the same batches."""

    data: str
    images: int  # of training
    epochs: int
    width: int
    descents: tuple[Descent, ...]

    @property
    def norms(self) -> list[str]:
        return list(dict.fromkeys(descent.norm for descent in self.descents))

    @property
    def depths(self) -> list[int]:
        return sorted({descent.depth for descent in self.descents})

    @property
    def seeds(self) -> list[int]:
        return sorted({descent.seed for descent in self.descents})

    def of(self, norm: str, residual: bool, depth: int) -> list[Descent]:
        """One network's trainings, in the order of their seeds."""
        found = [one for one in self.descents if (one.norm, one.residual, one.depth) == (norm, residual, depth)]
        return sorted(found, key=lambda one: one.seed)

    def final(self, norm: str, residual: bool, depth: int, what: str = "error") -> SeedStats | None:
        """What the trainings of one network ended at; None where one diverged."""
        found = self.of(norm, residual, depth)
        if any(one.diverged for one in found):
            return None
        return SeedStats(tuple(getattr(one, what)[-1] for one in found))

    def deeper(self, norm: str, residual: bool) -> PairedDifference | None:
        """Final training error of the deepest network − that of the shallowest, paired by seed."""
        return _difference(
            self.final(norm, residual, self.depths[-1]),
            self.final(norm, residual, self.depths[0]),
        )

    def skipped(self, norm: str, depth: int) -> PairedDifference | None:
        """Final training error of the plain network − that of the residual one of a depth, paired by seed."""
        return _difference(self.final(norm, False, depth), self.final(norm, True, depth))

    def relief(self, norm: str) -> PairedDifference | None:
        """By how much more the plain network's error grows from the shallowest to the deepest than the residual
        one's, paired by seed."""
        grown = [self._growth(norm, residual) for residual in (False, True)]
        return None if None in grown else paired_difference(*(gaps for gaps in grown if gaps is not None))

    def _growth(self, norm: str, residual: bool) -> list[float] | None:
        deepest, shallowest = (self.final(norm, residual, self.depths[place]) for place in (-1, 0))
        if deepest is None or shallowest is None:
            return None
        return [deep - shallow for deep, shallow in zip(deepest.values, shallowest.values, strict=True)]

    @property
    def summary(self) -> list[str]:
        return [*(self._paragraph(norm) for norm in self.norms), self._chance]

    def _paragraph(self, norm: str) -> str:
        parts = [f"{NORM_NAMES[norm].capitalize()}, {self._conclusion(norm)}"]
        for residual, kind in ((False, "Plain"), (True, "Residual")):
            ends = [self.final(norm, residual, depth) for depth in self.depths]
            shares = _series(["divergence" if end is None else f"{end.mean:.1%}" for end in ends])
            change = _change(self.deeper(norm, residual))
            depths = _series([str(depth) for depth in self.depths])
            parts.append(f"{kind} networks of {depths} layers end at training errors of {shares}: {change}.")
        return " ".join([*parts, *self._helped(norm)])

    def _helped(self, norm: str) -> list[str]:
        """Where the residual network ends below the plain one."""
        found = {depth: self.skipped(norm, depth) for depth in self.depths}
        depths = [str(depth) for depth, difference in found.items() if difference and difference.sign > 0]
        chance = " by more than chance explains" if len(self.seeds) > 1 else ""
        if not depths:
            return [f"At no depth does the residual network end below the plain one{chance}."]
        return [f"At {_series(depths)} layers the residual network ends below the plain one{chance}."]

    def _conclusion(self, norm: str) -> str:
        """The study's statement, or the opposite."""
        plain, residual, relief = self.deeper(norm, False), self.deeper(norm, True), self.relief(norm)
        if plain is None or residual is None or relief is None:
            return "trainings diverged, so neither depth nor the skip connection can be judged."
        worse = "more layers make the plain network worse on the very images it learns from"
        if plain.sign > 0:
            if relief.sign > 0:
                share = 1 - residual.mean / plain.mean
                what = "it" if share >= ALL_OF_IT and residual.sign <= 0 else f"{min(share, 1):.0%} of it"
                return f"{worse}: degradation, not overfitting. The skip connection removes {what}."
            if residual.sign > 0:
                return f"{worse}, and the skip connection does NOT remove that: it happens to the residual one, too."
            return f"{worse}. Whether the skip connection removes that, these seeds do not tell: they differ too much."
        what = (
            "the opposite of degradation shows: more layers make the plain network better on its training images."
            if plain.sign < 0
            else "these seeds show no degradation beyond chance: what depth changes of the plain network's training "
            "error, chance may explain."
        )
        return f"{what} The residual network does get worse with depth." if residual.sign > 0 else what

    @property
    def _chance(self) -> str:
        if len(self.seeds) == 1:
            return "Each number is one network from one seed: how far chance moves it, only several seeds tell."
        return (
            f"All errors are means over {len(self.seeds)} seeds. Differences are paired by seed, since the networks of "
            "one seed see the same batches, and a plain and a residual network of one depth begin with the same "
            "weights; chance is judged at 95%, by Student's t."
        )


def _change(difference: PairedDifference | None) -> str:
    if difference is None:
        return "not all of them can be compared"
    interval = ""
    if difference.low is not None and difference.high is not None:
        interval = f" (95% interval of the difference {_points(difference.low)} to {_points(difference.high)})"
    if abs(difference.mean) < 0.0005:
        return f"the deepest ends within 0.05 percentage points of the shallowest{interval}"
    side = "above" if difference.mean > 0 else "below"
    chance = "" if difference.sign else ", which chance may explain"
    return (
        f"the deepest ends {100 * abs(difference.mean):.1f} percentage points {side} the shallowest{interval}{chance}"
    )


def _points(share: float) -> str:
    return f"{round(100 * share, 1) + 0.0:+.1f}".replace("-", "−")


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
    folder: Path | str = FOLDER,
    engine: str = "numpy",
    workers: int = 1,
    progress: Progress | None = None,
) -> DegradationStudy:
    """Trains plain and residual networks of He et al.'s 6n + 2 layers (2015, sec. 4.2) to compare training errors.

    Of one depth, normalization and seed the two begin with the same weights and see the same batches: the shortcuts
    have no parameters (option A). Each training is a run folder below ``folder``; what is there is not run again.

    :param data: a Dataset or what ``load_data`` takes.
    :param seeds: so many, from 0 on.
    :param workers: processes that train side by side; see ``run_trials``.
    :raises ConfigError: a depth that is not 6n + 2, fewer than two depths, no seed.
    :raises RunError: a run in the folder that was begun with other settings.
    """
    depths = sorted(set(depths))
    for depth in depths:
        if depth < 8 or depth % 6 != 2:
            raise ConfigError(f"A depth must be 6n + 2 with n of at least 1, such as 8, 20 or 56. Got {depth}.")
    if len(depths) < 2:
        raise ConfigError(f"Degradation is a matter of depth: at least two depths are needed. Got {depths}.")
    if seeds < 1:
        raise ConfigError(f"This study needs at least one seed. Got {seeds}.")
    dataset = data if isinstance(data, Dataset) else load_data(data)
    trials = {
        (norm, residual, depth, seed): _trial(dataset, norm, residual, depth, width, epochs, seed)
        for norm in dict.fromkeys(norms)
        for depth in depths
        for residual in (False, True)
        for seed in range(seeds)
    }
    results = run_trials(
        list(trials.values()), dataset, folder, engine=engine, workers=workers, evaluate_train=True, progress=progress
    )
    descents = tuple(_descent(*key, result) for key, result in zip(trials, results, strict=True))
    source = Path(str(dataset.source["source"])).name
    return DegradationStudy(source, len(dataset.train), epochs, width, descents)


def _trial(data: Dataset, norm: str, residual: bool, depth: int, width: int, epochs: int, seed: int) -> Trial:
    spec = spec_for_data("resnet20", data, width=width, blocks=(depth - 2) // 6, norm=norm, skip=residual)
    name = f"{'residual' if residual else 'plain'}-{depth},norm={norm},seed={seed}"
    return Trial(name, spec, RECIPE.replace(epochs=epochs, seed=seed))


def _descent(norm: str, residual: bool, depth: int, seed: int, result: TrialResult) -> Descent:
    history = result.history
    return Descent(
        norm,
        residual,
        depth,
        seed,
        tuple(1 - record["train_evaluated_accuracy"] for record in history),
        tuple(record["train_evaluated_loss"] for record in history),
        tuple(1 - record["test_accuracy"] for record in history),
        diverged=bool(result.failure),
    )


def build_page(study: DegradationStudy) -> Page:
    """The study as a page, not yet written."""
    first = study.norms[0]
    ends = {
        f"{kind.capitalize()}, {depth} layers": study.final(first, kind == "residual", depth)
        for kind in ("plain", "residual")
        for depth in (study.depths[0], study.depths[-1])
    }
    key_figures = [(name, "diverged" if end is None else f"{end.mean:.1%} wrong") for name, end in ends.items()]
    how = (
        f"He et al.'s networks for small images (2015, sec. 4.2) with {study.width} channels, on {study.data}: "
        f"{pluralize(study.epochs, 'epoch')} over {study.images:,} training images, SGD with Nesterov's momentum, "
        f"batches of {RECIPE.batch_size}, one-cycle learning rate up to {RECIPE.lr:g}, gradients clipped at "
        f"{RECIPE.clip_grad_norm:g}. A plain and a residual network of one depth differ in the skip connections alone, "
        "which have no parameters: both begin with the same weights, see the same batches and take the same steps. "
        "After each epoch every training image is named once more in evaluation mode, with the weights held still, so "
        "that all numbers are of the same kind."
    )
    sections = [
        Section(
            NORM_NAMES[norm].capitalize(),
            [
                *([how] if norm == first else []),
                figures.depth_error_figure(study, norm),
                figures.descent_figure(study, norm, "error"),
                figures.descent_figure(study, norm, "loss"),
            ],
        )
        for norm in study.norms
    ]
    return Page(
        f"Degradation on {study.data}: plain against residual",
        key_figures,
        study.summary,
        [*sections, Section("In numbers", [_table(study), _differences(study)])],
    )


def rows(study: DegradationStudy) -> list[dict[str, str | int]]:
    """The final table: what each network ends at, mean ± standard deviation over the seeds."""
    found: list[dict[str, str | int]] = []
    for norm in study.norms:
        for residual in (False, True):
            for depth in study.depths:
                ends = {title: study.final(norm, residual, depth, what) for title, what in _ENDS.items()}
                told = {title: "diverged" if end is None else end.format() for title, end in ends.items()}
                kind = "residual" if residual else "plain"
                found.append({"network": kind, "norm": norm, "layers": depth, **told})
    return found


def _table(study: DegradationStudy) -> Table:
    found = rows(study)
    title = f"After the last epoch, mean ± standard deviation over {pluralize(len(study.seeds), 'seed')}"
    return Table(title, [name.capitalize() for name in found[0]], [list(row.values()) for row in found], nowrap=True)


def _differences(study: DegradationStudy) -> Table:
    deepest, shallowest = study.depths[-1], study.depths[0]
    compared = {}
    for norm in study.norms:
        for residual, kind in ((False, "plain"), (True, "residual")):
            compared[f"{kind}: {deepest} layers − {shallowest} layers", norm] = study.deeper(norm, residual)
        for depth in study.depths:
            compared[f"{depth} layers: plain − residual", norm] = study.skipped(norm, depth)
    cells = [
        (name, norm, *((None,) * 4 if difference is None else astuple(difference)))
        for (name, norm), difference in compared.items()
    ]
    columns = ["Difference of training errors", "Norm", "Mean", "95% from", "to", "p-value (paired t)"]
    return Table("Differences, paired by seed", columns, cells, nowrap=True)


def _series(words: Sequence[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last
