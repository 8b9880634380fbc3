"""Why a training is slower than it must be, by the clock: each reason with the gain to expect."""

from __future__ import annotations

from pathlib import Path
from time import thread_time

from glassnet.data import decode_image
from glassnet.doctor.check import Diagnosis, Reading, graded
from glassnet.doctor.context import Evidence
from glassnet.doctor.short_runs import seconds_per_image
from glassnet.engines import Network, build
from glassnet.engines.threads import usable_cores
from glassnet.errors import GlassnetError

_IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm")


class SmallBatch(Diagnosis):
    name = "training slow: batch too small"
    needs = ("recipe", "data")
    normal = "a batch of 64 computes an image less than 1.5 times as quickly"
    source = "measured now: the quickest of five steps of each"
    advice = ("train with batch_size=64, and lr larger in proportion up to the preset's (Goyal et al. 2017)",)
    suspected, larger = 8, 64
    medium, high = 1.5, 2.0

    def read(self, evidence: Evidence) -> Reading | str:
        assert evidence.recipe is not None
        batch = evidence.recipe.batch_size
        if batch > self.suspected:
            return Reading(1.0, f"batch {batch}")
        network = _network(evidence)
        if isinstance(network, str):
            return network
        gain = seconds_per_image(network, evidence, batch) / seconds_per_image(network, evidence, self.larger)
        says = f"A batch of {batch} takes {gain:.1f} times as long for an image as one of {self.larger}."
        return Reading(gain, f"{gain:.1f} times quicker at {self.larger}", graded(gain, self.medium, self.high), says)


class Float64(Diagnosis):
    name = "training slow: float64"
    needs = ("recipe", "data")
    normal = "float32, or less than 1.15 times quicker in it"
    source = "measured now: the quickest of five steps of each"
    advice = ("train with dtype='float32'; float64 is for proofs",)
    medium, high = 1.15, 1.3

    def read(self, evidence: Evidence) -> Reading | str:
        assert evidence.recipe is not None
        if evidence.config["dtype"] != "float64":
            return Reading(1.0, evidence.config["dtype"])
        batch = evidence.recipe.batch_size
        networks = [_network(evidence, dtype) for dtype in ("float64", "float32")]
        slow, quick = (net if isinstance(net, str) else seconds_per_image(net, evidence, batch) for net in networks)
        if isinstance(slow, str) or isinstance(quick, str):
            return str(slow)
        gain = slow / quick
        says = f"A step takes {gain:.1f} times as long in float64 as in float32."
        return Reading(gain, f"{gain:.1f} times quicker in float32", graded(gain, self.medium, self.high), says)


class Threads(Diagnosis):
    name = "training slow: threads"
    needs = ("recipe", "data")
    normal = "no other number of threads is 1.5 times as quick"
    source = "measured now: the quickest of five steps of each"
    advice = ("train with the number of threads named above: small images are quickest on one",)
    medium, high = 1.5, 2.0

    def read(self, evidence: Evidence) -> Reading | str:
        assert evidence.recipe is not None
        threads, batch = int(evidence.config.get("threads") or 1), evidence.recipe.batch_size
        if evidence.config.get("engine") != "torch" or evidence.config.get("device") != "cpu":
            return Reading(1.0, f"{evidence.config.get('engine')} on {evidence.config.get('device')}")
        network = _network(evidence)
        if isinstance(network, str):
            return network
        before, taken = network.threads, {}
        try:
            for number in sorted({1, usable_cores(), threads}):
                network = build(network.spec, "torch", 0, evidence.config["dtype"], "cpu", threads=number)
                taken[number] = seconds_per_image(network, evidence, batch)
        finally:
            build(network.spec, "torch", device="cpu", threads=before)  # the number holds for the whole process
        best = min(taken, key=lambda number: taken[number])
        gain = taken[threads] / taken[best]
        says = f"A step takes {gain:.1f} times as long on {threads} threads as on {best}."
        return Reading(gain, f"{gain:.1f} times quicker on {best}", graded(gain, self.medium, self.high), says)


class SlowDecoding(Diagnosis):
    name = "training slow: data decoding"
    needs = ("recipe", "history", "data")
    normal = "decoding the image files takes less time than training on them, or less than half a second"
    source = "measured now on 16 of the files, and the run's own seconds"
    advice = (
        "bring the images to the training's size once, in a folder of small PNG or JPEG files, and train on that",
        "or load them once in Python and hand the Dataset to several trainings",
    )
    shortest, files = 0.5, 16

    def read(self, evidence: Evidence) -> Reading | str:
        assert evidence.dataset is not None
        folder = Path(str(evidence.config["data"].get("source", "")))
        files = folder.rglob("*") if folder.is_absolute() else []  # "digits" is a name, not a folder
        paths = sorted(path for path in files if path.suffix.lower() in _IMAGES)
        if not paths:
            return Reading(0.0, "no image files to decode")
        some = paths[:: max(1, len(paths) // self.files)]
        start = thread_time()
        for path in some:
            decode_image(path, evidence.dataset.image_size, min(3, evidence.dataset.channels))
        decoding = (thread_time() - start) / len(some) * len(paths)
        training = sum(record.get("seconds") or 0.0 for record in evidence.history)
        share = decoding / max(training, 1e-9)
        says = (
            f"Decoding {len(paths):,} image files takes {decoding:.1f} s, training on them {training:.1f} s: without "
            f"it the whole would be {1 + share:.1f} times quicker."
        )
        sure = "high" if share >= 1 and decoding >= self.shortest else None
        return Reading(share, f"{decoding:.1f} s to decode, {training:.1f} s to train", sure, says)


def _network(evidence: Evidence, dtype: str | None = None) -> Network | str:
    """A network of the run's kind to be timed, on the run's engine; or why there is none."""
    assert evidence.spec is not None
    try:
        engine = evidence.config["engine"]
        threads = 1 if engine == "numpy" else None  # so that its clock is the thread's own
        return build(evidence.spec, engine, 0, dtype or evidence.config["dtype"], threads=threads)
    except GlassnetError as error:
        return str(error)
