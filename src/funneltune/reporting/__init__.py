"""Records -> statistics, tables and pages; never imports torch."""

from funneltune.reporting.comparisons import compare
from funneltune.reporting.evidence import collect
from funneltune.reporting.report import Report, report, report_decisions, write_report
from funneltune.reporting.table import Table, table

__all__ = ["Report", "Table", "collect", "compare", "report", "report_decisions", "table", "write_report"]
