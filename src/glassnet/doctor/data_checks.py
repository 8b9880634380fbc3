"""What can be wrong with images, labels, and the numbers made of pixels."""

from __future__ import annotations

import math

import numpy as np

from glassnet.data import Dataset
from glassnet.doctor import image_stats
from glassnet.doctor.check import Diagnosis, Reading, graded
from glassnet.doctor.context import Evidence


class WrongNormalization(Diagnosis):
    """The training images after (x / scale − mean) / std, as the network reads them."""

    name = "normalization forgotten or doubled"
    needs = ("run", "data")
    normal = "a mean between −2 and 2 and a standard deviation between 0.1 and 2.5"
    source = "inputs around 0 with a spread around 1 (LeCun et al. 1998, Efficient BackProp, sec. 4.3)"
    advice = (
        "let glassnet measure mean and std: load the images with load_data or Dataset and leave .normalization alone",
        "give Dataset the scale that the pixels really have (255 for images, 16 for scikit-learn's digits)",
        "hand over pixels as they are, not numbers that were normalized before",
    )
    largest, mean, narrowest = 2.5, 2.0, 0.1
    near = 0.2  # how near to a second normalization's mean and deviation counts as one

    def read(self, evidence: Evidence) -> Reading | str:
        assert evidence.dataset is not None
        numbers = evidence.batch(256)[0].astype(np.float64)
        mean, std = float(numbers.mean()), float(numbers.std())
        measured = f"mean {mean:.3g}, standard deviation {std:.3g}"
        if std > self.largest or abs(mean) > self.mean:
            kind = "doubled" if self._is_twice(evidence, mean, std) else "forgotten"
            says = (
                f"The network reads numbers with a standard deviation of {std:.3g} around {mean:.3g}: "
                f"normalization was {kind}."
            )
            return Reading(std, measured, "high", says)
        if std < self.narrowest:
            says = f"The network reads numbers of standard deviation {std:.3g}: normalization was doubled."
            return Reading(std, measured, "high", says)
        return Reading(std, measured)

    def _is_twice(self, evidence: Evidence, mean: float, std: float) -> bool:
        """Whether a second pass over numbers that are 0 ± 1 already would leave these: (0 − m) / s and 1 / s."""
        assert evidence.dataset is not None
        scaled = evidence.dataset.train.images.astype(np.float64) / evidence.dataset.scale
        m, s = float(scaled.mean()), float(scaled.std())
        return math.isclose(std, 1 / s, rel_tol=self.near) and math.isclose(mean, -m / s, rel_tol=self.near)


class DuplicatedClass(Diagnosis):
    name = "a class folder duplicated"
    needs = ("data",)
    normal = "no two classes have 10% of their images in common"
    source = "two names for one image cannot both be learned; none of the data sets of benchmarks/doctor.md has any"
    advice = ("compare the two folders and remove or merge one", "train anew")
    medium, high = 0.1, 0.3

    def read(self, evidence: Evidence) -> Reading | str:
        classes, found = _data(evidence).classes, evidence.copies
        first, second = (classes[label] for label in found.pair)
        measured = f"{found.in_pair:.1%} of a class at most"
        says = f"{found.in_pair:.0%} of the images of {first!r} or {second!r} stand in the other class, too."
        return Reading(found.in_pair, measured, graded(found.in_pair, self.medium, self.high), says)


class WrongLabels(Diagnosis):
    """Nearest neighbours by pixels: what they call an image, beside its label.

    Of photographs, labels that are right and neighbours that know little look like labels that are wrong and neighbours
    that know much. Whether neighbours may judge is therefore asked of the images alone.
    """

    name = "labels shuffled or partly wrong"
    needs = ("data",)
    normal = "neighbours agree with labels far beyond chance, and contradict fewer than 14% where they agree"
    source = (
        "k nearest neighbours, leave-one-out (Cover & Hart 1967; Northcutt et al. 2021), of images of few dimensions "
        "(Levina & Bickel 2005); benchmarks/doctor.md"
    )
    advice = (
        "look at the images beside their labels: the report's first figure shows a sample",
        "check that images and labels were read, sorted and shuffled together",
        "have the contradicted images labelled again; until then label_smoothing=0.1 and fewer epochs do less harm",
    )
    medium, high = 0.14, 0.18
    competent = 0.4  # neighbours that are right less often are no judges of single labels
    fewest, fewest_clear = 100, 50  # images
    most_dimensions = 9.0  # neighbours of photographs, which have 10 and more, look alike without being alike

    def read(self, evidence: Evidence) -> Reading | str:
        found = evidence.neighbours
        if found.asked < self.fewest:
            return f"{found.asked} training images are too few to judge labels by their neighbours"
        if found.dimensions > self.most_dimensions:
            return (
                f"images differ in about {found.dimensions:.0f} dimensions, as photographs do: neighbours by pixels "
                "cannot judge their labels"
            )
        margin = 3 * math.sqrt(found.chance * (1 - found.chance) / found.asked)
        if found.agreement <= found.chance + margin:
            measured = f"neighbours agree with {found.agreement:.0%} of the labels, chance is {found.chance:.0%}"
            says = f"Labels have nothing to do with images: {measured}. They are shuffled."
            return Reading(1.0, measured, self._sure_of_shuffle(evidence), says)
        if found.agreement < self.competent or found.clear * found.asked < self.fewest_clear:
            return (
                f"neighbours by pixels agree with {found.agreement:.0%} of the labels, and with one another about "
                f"{found.clear * found.asked:.0f} images: too few to judge labels"
            )
        share = found.contradicted
        measured = f"{share:.1%} contradicted"
        says = (
            f"Where at least 7 of an image's 10 nearest neighbours have one label, {share:.0%} of the images bear "
            "another: about so many labels are wrong."
        )
        return Reading(share, measured, graded(share, self.medium, self.high), says)

    def _sure_of_shuffle(self, evidence: Evidence) -> str:
        """Pixels may say nothing about the classes; a training that learned nothing is the second witness."""
        if not evidence.history or evidence.dataset is None:
            return "medium"
        accuracy, count = evidence.history[-1].get("test_accuracy") or 0.0, len(evidence.dataset.test)
        chance = float(np.bincount(evidence.dataset.test.labels).max() / count)
        return "high" if accuracy <= chance + 3 * math.sqrt(chance * (1 - chance) / count) else "medium"


class BlankImages(Diagnosis):
    name = "constant or blank images"
    needs = ("data",)
    normal = "fewer than 0.3% of the training images have a single colour"
    source = "a blank image has nothing to learn; the data sets of benchmarks/doctor.md have none"
    advice = ("find out what wrote them (a failed export, a camera's cap) and remove them", "train anew")
    medium, high = 0.003, 0.01

    def read(self, evidence: Evidence) -> Reading | str:
        images = _data(evidence).train.images
        blank = int(image_stats.blank(images).sum())
        share = blank / len(images)
        measured = f"{blank:,} of {len(images):,} ({share:.1%})"
        says = f"{blank:,} of {len(images):,} training images ({share:.1%}) have a single colour."
        return Reading(share, measured, graded(share, self.medium, self.high), says)


class Leak(Diagnosis):
    name = "images in train and test both"
    needs = ("data",)
    normal = "fewer than 1% of the test images stand in the training split"
    source = "Barz & Denzler 2020 clean CIFAR-10 of 3.3% near copies; digits and Fashion-MNIST have none to the byte"
    advice = (
        "remove copies before splitting, or split by what the images show (person, scene, day), not by file",
        "measure again: the test accuracy is too good until then",
    )
    medium, high = 0.01, 0.03

    def read(self, evidence: Evidence) -> Reading | str:
        share = evidence.copies.in_both
        says = f"{share:.1%} of the test images are, to the byte, training images: the test accuracy is too good."
        return Reading(share, f"{share:.1%}", graded(share, self.medium, self.high), says)


class Duplicates(Diagnosis):
    name = "exact-duplicate images"
    needs = ("data",)
    normal = "fewer than 1% of the training images are copies of another one of their class"
    source = "Barz & Denzler 2020; the data sets of benchmarks/doctor.md have none"
    advice = ("remove the copies: they cost time and count some images twice", "split again, so that none is in both")
    medium, high = 0.01, 0.03

    def read(self, evidence: Evidence) -> Reading | str:
        share = evidence.copies.in_training
        says = f"{share:.1%} of the training images are exact copies of another one."
        return Reading(share, f"{share:.1%}", graded(share, self.medium, self.high), says)


class Unbalanced(Diagnosis):
    name = "classes unbalanced"
    needs = ("data",)
    normal = "the largest class has less than 3 times the images of the smallest"
    source = "Buda et al. 2018: ratios from about 10 on cost accuracy, smaller ones little; benchmarks/doctor.md"
    advice = (
        "judge by the recall of each class (report), not by accuracy alone",
        "collect more images of the rare classes, or repeat them, or take fewer of the common ones",
    )
    medium, high = 3.0, 4.0
    chance = 4.0  # the counts must differ by more than so many times what a draw of that size varies by

    def read(self, evidence: Evidence) -> Reading | str:
        data = _data(evidence)
        counts = np.bincount(data.train.labels, minlength=len(data.classes))
        ratio = float(counts.max() / counts.min())
        rare, common = data.classes[int(counts.argmin())], data.classes[int(counts.argmax())]
        sure = graded(ratio, self.medium, self.high)
        if counts.max() - counts.min() < self.chance * math.sqrt(counts.mean()):
            sure = None
        says = (
            f"{common!r} has {counts.max():,} training images, {ratio:.1f} times as many as {rare!r} with "
            f"{counts.min():,}."
        )
        return Reading(ratio, f"{ratio:.1f} times", sure, says)


def _data(evidence: Evidence) -> Dataset:
    assert evidence.dataset is not None
    return evidence.dataset
