"""Checks of images, labels and normalization."""

from __future__ import annotations

import math

import numpy as np

from glassnet.data import Normalization
from glassnet.doctor.check import Check, CheckResult, CheckSkippedError
from glassnet.doctor.context import CheckContext
from glassnet.doctor.image_stats import (
    NEIGHBOURS,
    UNANIMOUS,
    NeighbourStats,
    find_uniform,
    measure_levels,
    measure_neighbours,
)
from glassnet.doctor.remedy import Remedy
from glassnet.formats import agree, pluralize
from glassnet.training.log_line import value_on_test_set


class WrongNormalization(Check):
    """The training images after (x / scale − mean) / std, the input of the network."""

    name = "wrong normalization"
    requires = ("run", "data")
    expected = "a mean between −2 and 2 and a standard deviation between 0.1 and 2.5"
    source = "inputs around 0 with a standard deviation around 1 (LeCun et al. 1998, Efficient BackProp, sec. 4.3)"
    advice = (
        "let glassnet measure mean and std: load the images with load_data or Dataset and do not set .normalization",
        "give Dataset the scale of the pixels (255 for images, 16 for scikit-learn's digits)",
        "pass raw pixels, not numbers that were normalized before",
    )
    max_std, max_mean, min_std = 2.5, 2.0, 0.1
    tolerance = 0.2  # relative, of the mean and the deviation that a second normalization would give

    def run(self, context: CheckContext) -> CheckResult:
        inputs = context.batch(256)[0].astype(np.float64)
        mean, std = float(inputs.mean()), float(inputs.std())
        measured = f"mean {mean:.3g}, standard deviation {std:.3g}"
        if self.min_std <= std <= self.max_std and abs(mean) <= self.max_mean:
            return CheckResult(std, measured)
        too_small = std < self.min_std and abs(mean) <= self.max_mean
        fault = "was applied twice" if too_small or self._is_twice(context, mean, std) else "was not applied"
        return CheckResult(std, measured, "high", f"The network's input has {measured}: normalization {fault}.")

    def _is_twice(self, context: CheckContext, mean: float, std: float) -> bool:
        """Return whether normalizing numbers of mean 0 and deviation 1 gives these: −m / s and 1 / s."""
        count, sums, squares = context.dataset.train.pixel_totals()
        every = Normalization.from_sums(count * len(sums), [sum(sums)], [sum(squares)], context.dataset.scale)
        (m,), (s,) = every.mean, every.std
        return math.isclose(std, 1 / s, rel_tol=self.tolerance) and math.isclose(mean, -m / s, rel_tol=self.tolerance)


class DuplicatedClass(Check):
    """Equal images in two classes."""

    name = "duplicated class"
    requires = ("data",)
    expected = "no two classes have 10% of their images in common"
    source = "one image cannot have two labels; the data sets of benchmarks/doctor.md have no such images"
    advice = ("compare the two folders and remove or merge one", "train again")
    medium, high = 0.1, 0.3

    def run(self, context: CheckContext) -> CheckResult:
        fraction = context.duplicates.in_pair
        first, second = (context.dataset.classes[label] for label in context.duplicates.class_pair)
        message = f"{fraction:.0%} of the images of {first!r} or {second!r} are also in the other class."
        return self.grade(fraction, f"{fraction:.1%} of the images of two classes", message)


class WrongLabels(Check):
    """Labels beside those of the nearest neighbours by pixels.

    For photographs, right labels with uninformative neighbours look like wrong labels with informative neighbours.
    Therefore the images alone, by their intrinsic dimension, decide whether neighbours can judge labels.
    """

    name = "wrong labels"
    requires = ("data",)
    expected = "neighbours agree with labels far beyond chance; fewer than 14% disagree with unanimous neighbours"
    source = (
        "k nearest neighbours, leave-one-out (Cover & Hart 1967; Northcutt et al. 2021), of images of few dimensions "
        "(Levina & Bickel 2005); benchmarks/doctor.md"
    )
    advice = (
        "look at the images and their labels: the report's first figure shows a sample",
        "check that images and labels were read, sorted and shuffled together",
        "label the images again that disagree; until then, fewer epochs do less harm",
    )
    medium, high = 0.14, 0.18
    min_agreement = 0.4  # with less, neighbours cannot judge single labels
    min_images, min_unanimous = 100, 50
    max_dimensions = 9.0  # photographs have 10 and more: their neighbours by pixels show other things

    def run(self, context: CheckContext) -> CheckResult:
        stats = measure_neighbours(context.dataset)
        if stats.n_queried < self.min_images:
            images = pluralize(stats.n_queried, "distinct training image")
            raise CheckSkippedError(f"the data has {images}, too few to judge labels by their neighbours")
        if stats.dimensions > self.max_dimensions:
            raise CheckSkippedError(
                f"the images have about {stats.dimensions:.0f} intrinsic dimensions, as photographs have: neighbours "
                "by pixels cannot judge their labels"
            )
        if stats.agreement <= stats.chance + _three_sigma(stats.chance, stats.n_queried):
            return self._shuffled(context, stats)
        n_unanimous = stats.unanimous_fraction * stats.n_queried
        if stats.agreement < self.min_agreement or n_unanimous < self.min_unanimous:
            raise CheckSkippedError(
                f"neighbours by pixels agree with {stats.agreement:.0%} of the labels and are unanimous for about "
                f"{pluralize(round(n_unanimous), 'image')}: too few to judge labels"
            )
        fraction = stats.disagreement
        message = (
            f"Where at least {UNANIMOUS} of an image's {NEIGHBOURS} nearest neighbours have the same label, "
            f"{fraction:.0%} of the images have another one: about this fraction of the labels is wrong."
        )
        return self.grade(fraction, f"{fraction:.1%} disagree with unanimous neighbours", message)

    def _shuffled(self, context: CheckContext, stats: NeighbourStats) -> CheckResult:
        """Return a finding of high confidence if the training, too, has learned nothing: for some images pixels may
        not depend on the classes."""
        measured = f"neighbours agree with {stats.agreement:.0%} of the labels, by chance with {stats.chance:.0%}"
        confidence = "medium"
        if context.history:
            labels = context.dataset.test.labels
            chance = float(np.bincount(labels).max() / len(labels))
            accuracy = value_on_test_set(context.history[-1], "accuracy") or 0.0
            confidence = "high" if accuracy <= chance + _three_sigma(chance, len(labels)) else "medium"
        message = f"The labels do not depend on the images: {measured}. The labels are shuffled."
        return CheckResult(1.0, measured, confidence, message)


class BlankImages(Check):
    """Training images of a single colour."""

    name = "blank images"
    requires = ("data",)
    expected = "fewer than 0.3% of the training images have a single colour"
    source = "a blank image contains nothing to learn; the data sets of benchmarks/doctor.md have none"
    advice = ("find out what wrote them (a failed export, a covered camera) and remove them", "train again")
    medium, high = 0.003, 0.01

    def run(self, context: CheckContext) -> CheckResult:
        uniform = find_uniform(context.dataset.train)
        count, fraction = int(uniform.sum()), float(uniform.mean())
        images = pluralize(len(uniform), "training image")
        message = f"{count:,} of {images} ({fraction:.1%}) {agree(count, 'has', 'have')} a single colour."
        return self.grade(fraction, f"{count:,} of {len(uniform):,} ({fraction:.1%})", message)


class FewLevels(Check):
    """Gray levels between the darkest and the brightest pixel of a training image."""

    name = "few gray levels"
    requires = ("data",)
    expected = "half of the training images span more than 16 gray levels, or more than an eighth of all levels"
    source = "8 bits hold 256 levels; those that decoding rounds away cannot be learned from"
    advice = (
        "load the original 16-bit or float files with load_data, which measures the range of their values",
        "16-bit files in colour lose their lower 8 bits in Pillow: scale them to 8 bits before, with one range for all",
        "check the exposure, and the value_range if one was given; then train again",
    )
    medium_levels, high_levels, max_fraction = 16, 8, 1 / 8

    def run(self, context: CheckContext) -> CheckResult:
        scale = context.dataset.scale
        spans, n_values = measure_levels(context.dataset.train)
        if not len(spans):
            raise CheckSkippedError("every training image has a single colour")
        span = float(np.median(spans))
        n_levels = int(span) + 1
        measured = f"half of the images span at most {n_levels} of {scale + 1:.0f} gray levels"
        confidence = None
        if n_levels <= self.medium_levels and span <= self.max_fraction * scale:
            confidence = "high" if n_levels <= self.high_levels else "medium"
        message = f"H{measured[1:]}; all training images together have {pluralize(n_values, 'different value')}."
        return CheckResult(n_levels, measured, confidence, message)


class TrainTestOverlap(Check):
    """Test images that are also training images."""

    name = "test images in the training set"
    requires = ("data",)
    expected = "fewer than 1% of the test images are also training images"
    source = "Barz & Denzler 2020 find 3.3% near copies in CIFAR-10; digits and Fashion-MNIST have no exact ones"
    advice = (
        "remove copies before splitting, or split by what the images show (person, scene, day), not by file",
        "evaluate again: until then the test accuracy is too high",
    )
    medium, high = 0.01, 0.03

    def run(self, context: CheckContext) -> CheckResult:
        fraction = context.duplicates.in_both
        measured = f"{fraction:.1%} of the test images"
        return self.grade(
            fraction, measured, f"{measured} are exact copies of training images: test accuracy is too high."
        )


class DuplicateImages(Check):
    """Equal training images of one class."""

    name = "duplicate images"
    requires = ("data",)
    expected = "fewer than 1% of the training images are exact copies of another one of their class"
    source = "Barz & Denzler 2020; the data sets of benchmarks/doctor.md have none"
    advice = ("remove the copies: they cost time and weight some images twice", "split again, so that no copy leaks")
    medium, high = 0.01, 0.03

    def run(self, context: CheckContext) -> CheckResult:
        fraction = context.duplicates.in_training
        measured = f"{fraction:.1%} of the training images"
        return self.grade(fraction, measured, f"{measured} are exact copies of another one of their class.")


class ClassImbalance(Check):
    """Training images of the largest and of the smallest class."""

    name = "class imbalance"
    requires = ("data",)
    expected = "the largest class has less than 3 times the images of the smallest"
    source = "Buda et al. 2018: ratios of about 10 and more cost accuracy, smaller ones little; benchmarks/doctor.md"
    medium, high = 3.0, 4.0
    min_sigmas = 4.0  # difference of the counts, in standard deviations of a count

    def run(self, context: CheckContext) -> CheckResult:
        classes = context.dataset.classes
        counts = np.bincount(context.dataset.train.labels, minlength=len(classes))
        ratio, rare, common = float(counts.max() / counts.min()), int(counts.argmin()), int(counts.argmax())
        measured = f"{ratio:.1f} times as many in the largest as in the smallest"
        if counts.max() - counts.min() < self.min_sigmas * math.sqrt(counts.mean()):
            return CheckResult(ratio, measured)
        message = (
            f"{classes[common]!r} has {counts[common]:,} training images, {ratio:.1f} times as many as "
            f"{classes[rare]!r} with {counts[rare]:,}."
        )
        return self.grade(ratio, measured, message)

    def remedies(self, context: CheckContext, result: CheckResult) -> list[Remedy]:
        remedies = [
            Remedy("look at the recall of each class (report), not at accuracy alone"),
            Remedy("collect more images of the rare classes, or repeat them, or use fewer of the common ones"),
        ]
        if not context.has_class_weights:
            remedies.append(Remedy("or give every class the same weight in the loss", {"class_weights": "balanced"}))
        return remedies


def _three_sigma(fraction: float, count: int) -> float:
    return 3 * math.sqrt(fraction * (1 - fraction) / count)
