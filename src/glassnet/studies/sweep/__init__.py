"""Sweep: a full grid of settings of the model and the recipe, trained with several seeds and compared."""

from glassnet.studies.sweep.figures import effect_figure, sweep_figure
from glassnet.studies.sweep.grid import ParamGrid, parse_grid
from glassnet.studies.sweep.measure import Effect, Setting, SweepStudy, run_study
from glassnet.studies.sweep.page import build_page, markdown, table_rows

__all__ = [
    "Effect",
    "ParamGrid",
    "Setting",
    "SweepStudy",
    "build_page",
    "effect_figure",
    "markdown",
    "parse_grid",
    "run_study",
    "sweep_figure",
    "table_rows",
]
