"""Records -> statistics, tables and pages; never imports torch."""

from funneltune.reporting.comparisons import compare
from funneltune.reporting.evidence import collect
from funneltune.reporting.report import Report, report, write_report
from funneltune.reporting.table import Table, table

__all__ = ["Report", "Table", "collect", "compare", "report", "table", "write_report"]
