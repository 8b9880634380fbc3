"""Checks of avoidable slowness: each measures the speed-up to expect."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from time import thread_time
from typing import ClassVar

from glassnet.data import decode_image
from glassnet.data.files.image_formats import is_named_as_image
from glassnet.doctor.check import Check, CheckResult, CheckSkippedError
from glassnet.doctor.context import CheckContext
from glassnet.doctor.learning_rate_checks import LearningRateTooHigh, round_rate
from glassnet.doctor.network_checks import DeadReluAfterTraining
from glassnet.doctor.remedy import Remedy
from glassnet.doctor.short_runs import seconds_per_image
from glassnet.engines import Network, build
from glassnet.errors import DataError
from glassnet.formats import pluralize
from glassnet.recipe import get_recipe
from glassnet.resources import usable_cores


class SpeedCheck(Check):
    """A check that times training steps of the run's network."""

    requires: ClassVar[tuple[str, ...]] = ("recipe", "data")
    source = "measured now: the fastest of five steps of each"
    medium, high = 1.5, 2.0


class SmallBatch(SpeedCheck):
    """Time for an image in the run's batches and in larger ones."""

    name = "slow training: small batches"
    expected = "time per image below 1.5 times that of batches of 64"
    max_suspect, large = 8, 64  # images in a batch

    def run(self, context: CheckContext) -> CheckResult:
        batch_size = context.recipe.batch_size
        if batch_size > self.max_suspect:
            return CheckResult(1.0, f"batches of {batch_size}")
        network = _build_network(context)
        ratio = seconds_per_image(network, context, batch_size) / seconds_per_image(network, context, self.large)
        measured = f"{ratio:.1f} times the time per image of batches of {self.large}"
        return self.grade(ratio, measured, f"Batches of {batch_size} take {measured}.")

    def remedies(self, context: CheckContext, result: CheckResult) -> list[Remedy]:
        recipe, settings = context.recipe, dict[str, float](batch_size=self.large)
        text = "train with larger batches"
        in_proportion = recipe.lr * self.large / recipe.batch_size
        lr = round_rate(min(in_proportion, get_recipe(context.spec.preset).lr))
        needs_less = LearningRateTooHigh().finds(context) or DeadReluAfterTraining().finds(context)
        if lr > recipe.lr and not needs_less:
            text += ", and with a learning rate larger in proportion, up to the preset's (Goyal et al. 2017)"
            settings["lr"] = lr
        return [Remedy(text, settings)]


class Float64(SpeedCheck):
    """Time of a step in float64 and in float32."""

    name = "slow training: float64"
    expected = "float32, or less than 1.15 times as long as in float32"
    medium, high = 1.15, 1.3

    def run(self, context: CheckContext) -> CheckResult:
        dtype = context.config.dtype
        if dtype != "float64":
            return CheckResult(1.0, dtype)
        slow, fast = (
            seconds_per_image(_build_network(context, dtype), context, context.recipe.batch_size)
            for dtype in ("float64", "float32")
        )
        measured = f"{slow / fast:.1f} times as long in float64 as in float32"
        return self.grade(slow / fast, measured, f"A step takes {measured}.")

    def remedies(self, context: CheckContext, result: CheckResult) -> list[Remedy]:
        return [Remedy("train in float32; float64 is for gradient checks", {"dtype": "float32"})]


class BadThreadCount(SpeedCheck):
    """Time of a step of the PyTorch engine on the run's number of threads and on others."""

    name = "slow training: number of threads"
    expected = "less than 1.5 times as long as on any other number of threads"

    def run(self, context: CheckContext) -> CheckResult:
        config = context.config
        if config.engine != "torch" or config.device != "cpu":
            raise CheckSkippedError("PyTorch on a CPU alone has threads to choose")
        threads, before = config.threads or 1, _build_network(context).threads
        seconds = {}
        try:
            for count in sorted({1, usable_cores(), threads}):
                network = build(context.spec, "torch", 0, config.dtype, device="cpu", threads=count)
                seconds[count] = seconds_per_image(network, context, context.recipe.batch_size)
        finally:
            build(context.spec, "torch", device="cpu", threads=before)  # PyTorch has one count for the whole process
        best = min(seconds, key=lambda count: seconds[count])
        ratio = seconds[threads] / seconds[best]
        measured = f"{ratio:.1f} times as long on {pluralize(threads, 'thread')} as on {best}"
        return self.grade(ratio, measured, f"A step takes {measured}.", threads=best)

    def remedies(self, context: CheckContext, result: CheckResult) -> list[Remedy]:
        return [Remedy("train on the fastest number of threads; small images are fastest on one", result.settings)]


class SlowDecoding(SpeedCheck):
    """Time to decode the image files beside the time of the training."""

    name = "slow training: image decoding"
    requires = ("recipe", "history", "data")
    expected = "decoding the image files takes less time than training on them, or less than half a second"
    source = "measured now on 16 of the files, and the run's own seconds"
    advice = (
        "resize the images once to the training's size, as small PNG or JPEG files, and train on that folder",
        "or load them once in Python and pass the Dataset to several trainings",
    )
    min_seconds, n_files = 0.5, 16

    def run(self, context: CheckContext) -> CheckResult:
        folder = Path(context.config.data.source)
        files = folder.rglob("*") if folder.is_absolute() else []  # "digits" is a name, not a folder
        paths = sorted(path for path in files if is_named_as_image(path.name))
        if not paths:
            raise CheckSkippedError("the run's images are not image files in a folder")
        sample = paths[:: max(1, len(paths) // self.n_files)]
        start = thread_time()
        for path in sample:
            with suppress(DataError):  # an unreadable file, which the training left out
                decode_image(path, context.dataset.image_size, min(3, context.dataset.channels))
        decoding = (thread_time() - start) / len(sample) * len(paths)
        training = sum(record.get("seconds") or 0.0 for record in context.history)
        ratio = decoding / max(training, 1e-9)
        message = (
            f"Decoding {pluralize(len(paths), 'image file')} takes {decoding:.1f} s, training on them {training:.1f} "
            f"s: without decoding, the whole would be {1 + ratio:.1f} times as fast."
        )
        confidence = "high" if ratio >= 1 and decoding >= self.min_seconds else None
        return CheckResult(ratio, f"{decoding:.1f} s to decode, {training:.1f} s to train", confidence, message)


def _build_network(context: CheckContext, dtype: str | None = None) -> Network:
    """Return a network like the run's, on its engine, to be timed."""
    engine = context.config.engine
    threads = 1 if engine == "numpy" else None  # seconds_per_image reads the clock of this thread
    return build(context.spec, engine, 0, dtype or context.config.dtype, threads=threads)
