"""What people look at: measures, figures, the report, and the comparison of runs."""

from glassnet.insight.compare import compare
from glassnet.insight.comparison_page import write_comparison
from glassnet.insight.measures import layer_table
from glassnet.insight.report import write_report

__all__ = ["compare", "layer_table", "write_comparison", "write_report"]
