"""Reports: the page of one run and the comparison of runs."""

from glassnet.reports.comparison import compare
from glassnet.reports.comparison_page import write_comparison
from glassnet.reports.report import write_report

__all__ = ["compare", "write_comparison", "write_report"]
