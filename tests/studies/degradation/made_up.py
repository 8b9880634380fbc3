"""Degradation studies with given numbers."""

from glassnet.studies.degradation import DegradationStudy, TrainingCurve

Ends = dict[tuple[bool, int], list[float]]


def made_up(ends: Ends, norm: str = "batch") -> DegradationStudy:
    """Return a study whose networks, by (residual, depth), end at these training errors, one for each seed."""
    curves = tuple(
        TrainingCurve(norm, residual, depth, seed, (0.9, error), (2.3, 2 * error), (0.9, error), diverged=False)
        for (residual, depth), errors in ends.items()
        for seed, error in enumerate(errors)
    )
    return DegradationStudy("digits", 1347, 2, 8, curves)


PLAIN_8, PLAIN_56, RESIDUAL_8, RESIDUAL_56 = (False, 8), (False, 56), (True, 8), (True, 56)
LOW, LOWER, HIGH = [0.01, 0.02, 0.015], [0.001, 0.002, 0.001], [0.7, 0.75, 0.72]
DEGRADED: Ends = {PLAIN_8: LOW, PLAIN_56: HIGH, RESIDUAL_8: LOW, RESIDUAL_56: LOWER}
