"""Reports: the page of one run and the comparison of runs."""

from glassnet.reports.comparison import Comparison, compare
from glassnet.reports.comparison_page import write_comparison
from glassnet.reports.report import Report, write_report

__all__ = ["Comparison", "Report", "compare", "write_comparison", "write_report"]
