"""Imports the engine first, to keep the warnings of Cinder's imports out of the tests; draws by a profile.

`fixed` draws the same cases each time, about a minute's; `make prove` sets HYPOTHESIS_PROFILE=thorough, which
draws new ones, for as long as an hour.
"""

import os
from typing import Any

from hypothesis import HealthCheck, settings

import sim.cinder  # noqa: F401

COMMON: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
    "print_blob": True,
}
settings.register_profile("fixed", max_examples=30, stateful_step_count=25, derandomize=True, **COMMON)
settings.register_profile("thorough", max_examples=1500, stateful_step_count=50, **COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))
