"""Degradation: deeper plain networks have a higher training error, and skip connections remove that."""

from glassnet.studies.degradation.figures import depth_error_figure, training_curve_figure
from glassnet.studies.degradation.measure import DegradationStudy, TrainingCurve, run_study
from glassnet.studies.degradation.page import build_page, table_rows

__all__ = [
    "DegradationStudy",
    "TrainingCurve",
    "build_page",
    "depth_error_figure",
    "run_study",
    "table_rows",
    "training_curve_figure",
]
