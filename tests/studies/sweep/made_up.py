"""Sweeps with given numbers."""

from glassnet.studies.sweep import Setting, SweepStudy

Accuracies = dict[tuple[object, ...], tuple[float | None, ...]]


def made_up(accuracies: Accuracies, **param_grid: tuple[object, ...]) -> SweepStudy:
    """Return a sweep whose settings, by their values, end at these accuracies, one for each seed."""
    settings = tuple(
        Setting(tuple(zip(param_grid, values, strict=True)), 1234, ends, tuple(end and 1 - end for end in ends), 2.5)
        for values, ends in accuracies.items()
    )
    seeds = tuple(range(len(next(iter(accuracies.values())))))
    return SweepStudy("digits", "tiny", "validation", 269, seeds, tuple(param_grid.items()), settings)


def grid_study() -> SweepStudy:
    """Return a sweep in which the norm has an effect of 10 points, and the number of blocks has none."""
    return made_up(
        {
            (1, "none"): (0.80, 0.82, 0.81),
            (1, "batch"): (0.90, 0.92, 0.912),
            (2, "none"): (0.81, 0.81, 0.805),
            (2, "batch"): (0.91, 0.912, 0.91),
        },
        blocks=(1, 2),
        norm=("none", "batch"),
    )


def diverged_study() -> SweepStudy:
    """Return a sweep in which one run of one setting diverged."""
    return made_up(
        {(1, 0.1): (0.9, 0.91), (1, 9.0): (None, 0.1), (2, 0.1): (0.8, 0.82), (2, 9.0): (0.1, 0.1)},
        blocks=(1, 2),
        lr=(0.1, 9.0),
    )
