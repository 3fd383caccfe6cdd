"""Says at the end on how many drawn cases the engines were compared."""

from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Adds up what the tests recorded as `examples`, on all workers."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    calls = [report for report in reports if getattr(report, "when", None) == "call"]
    properties = [pair for report in calls for pair in report.user_properties]
    if examples := sum(value for name, value in properties if name == "examples"):
        terminalreporter.write_line(f"engines compared on {examples:,} drawn cases")
