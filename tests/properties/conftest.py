"""Hypothesis profiles: `default` takes about a minute, HYPOTHESIS_PROFILE=thorough as long as an hour."""

import os

from hypothesis import HealthCheck, settings

COMMON = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
    "print_blob": True,
}
settings.register_profile("default", max_examples=70, stateful_step_count=25, **COMMON)
settings.register_profile("thorough", max_examples=1500, stateful_step_count=50, **COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
