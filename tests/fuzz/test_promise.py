"""What was promised (JSON, or lines of cinder.conf), read and then used by `verdict` and by `watch`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from sim.importers import configuration
from sim.inputs.problems import Problems
from sim.live import promise
from sim.live.observed import Observed
from sim.live.settings import Settings
from sim.live.state import State
from sim.planner.verdict import Margins, verdict
from sim.report.display_verdict import verdict_text
from tests.fuzz.damage import json_of, texts, trees
from tests.fuzz.frame import Target
from tests.fuzz.test_import_files import CONF

FIGURES = {
    "image_volume_cache_enabled": True, "image_volume_cache_max_size_gb": 200,
    "image_volume_cache_max_count": 5, "creates": 100, "errors": 2, "other_errors": 1,
    "hit_rate": 0.9, "hit_rate_low": 0.8, "hit_rate_high": 0.95, "p95_s": 40.0,
    "p95_s_low": 30.0, "p95_s_high": None,
}  # fmt: skip
ASKED = {"creates_per_day": 10.0, "new_images_per_day": 0.5}
PROMISE = {
    "scenario": "cloud", "strategy": "cache-only", "backends": {"lvm-1": FIGURES, "ceph": FIGURES},
    "tiers": {"all": FIGURES}, "quota": {"volumes": 10, "gigabytes": None},
    "load": {
        "start": "2026-01-01T00:00:00+00:00", "end": "2026-01-31T00:00:00+00:00", "days": 30.0,
        "all": ASKED, "backends": {"lvm-1": ASKED, "ceph": {**ASKED, "new_images_per_day": None}},
    },
}  # fmt: skip
PLACES = {"max_volumes": 70, "pools": {"p0": {"max_volumes": 30}}}
SCENARIO = {
    "today": "combined", "backends": {"lvm-1": PLACES}, "cinder": {"internal_tenant_quota_volumes": 10},
}  # fmt: skip
LINES = """\
[DEFAULT]
allowed_direct_url_schemes = cinder
[backend_defaults]
image_volume_cache_enabled = true
[lvm-1]
image_volume_cache_max_count = 5
image_volume_cache_max_size_gb = 200
"""


def _seen(settings: Settings) -> Observed:
    days = range(10)
    creates = pd.DataFrame(
        {
            "time": [86_400.0 * (day - 1) for day in days],
            "backend": ["lvm-1", "ceph"] * 5,
            "host": ["c1@lvm-1#p", "c1@ceph#p"] * 5,
            "image_id": [f"i{day % 3}" for day in days],
            "create_s": [float(day) for day in days],
            "downloaded": [float(day % 2) for day in days],
        }
    )
    since, until = datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 2, 11, tzinfo=UTC)
    return Observed(creates, since, until, settings.differences(State(quotas={"volumes": 10})))


def _read(path: Path) -> None:
    problems = Problems()
    found = promise.read(path, problems)
    problems.raise_any()
    assert found is not None
    settings = Settings([], [], found)
    settings.configuration = configuration.read([path.with_name("cloud.conf")], problems)
    assert settings.configuration is not None
    for each in settings.differences(None):
        assert str(each)
    document = verdict(found, _seen(settings), Margins())
    json.dumps(document, allow_nan=False)
    assert verdict_text(document)


def _beside(folder: Path) -> None:
    (folder / "cloud.conf").write_text(CONF)


def _trees() -> Any:
    return trees([PROMISE, SCENARIO]).map(json_of) | texts([json_of(PROMISE), json_of(SCENARIO)])


JSON = Target("promise JSON", _trees, "promise.json", _read, _beside, named=("promise.json",))
CONF_LINES = Target(
    "promise lines", lambda: texts([LINES.encode()]), "lines.conf", _read, _beside, named=("lines.conf",)
)


def test_the_seeds_are_accepted(tmp_path: Path) -> None:
    _beside(tmp_path)
    for target, data in ((JSON, json_of(PROMISE)), (JSON, json_of(SCENARIO)), (CONF_LINES, LINES.encode())):
        path = tmp_path / target.file
        path.write_bytes(data)
        target.read(path)


def test_promises() -> None:
    JSON.check(40, 1)
    CONF_LINES.check(25, 1)
