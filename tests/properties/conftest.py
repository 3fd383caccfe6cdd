"""Hypothesis profiles: `default` takes about a minute, HYPOTHESIS_PROFILE=thorough as long as an hour.

And, at the end, on how many drawn cases the engines were compared.
"""

import os
from typing import Any

from hypothesis import HealthCheck, settings

COMMON = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
    "print_blob": True,
}
settings.register_profile("default", max_examples=30, stateful_step_count=25, **COMMON)
settings.register_profile("thorough", max_examples=1500, stateful_step_count=50, **COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Adds up what the tests recorded as `examples`, on all workers."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    calls = [report for report in reports if getattr(report, "when", None) == "call"]
    properties = [pair for report in calls for pair in report.user_properties]
    if examples := sum(value for name, value in properties if name == "examples"):
        terminalreporter.write_line(f"engines compared on {examples:,} drawn cases")
