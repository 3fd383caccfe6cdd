"""`python -m lab deployed` without its servers: its lines of cinder.conf, its tables, its judgement."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("kombu")
pytest.importorskip("openstack")
pytest.importorskip("pymysql")

from lab import conf, deployed, trace
from lab.days import BACK, Days
from sim.workload.loading import load

PORTS = {"mariadb": 1, "rabbitmq": 2, "glance": 3, "cinder": 4}


def test_lines_go_into_the_sections_that_a_file_has(tmp_path: Path) -> None:
    case = load(deployed.SCENARIO)
    conf.write(tmp_path, case.scenario, PORTS, reflinks=True)
    one, other = tmp_path / "cinder-c1.conf", tmp_path / "cinder-c2.conf"
    before = deployed.read(one)
    lines = tmp_path / "lines.conf"
    lines.write_text(
        "[DEFAULT]\nscheduler_max_attempts = 9\n[flash-a]\nimage_volume_cache_max_count = 12\nnew = 1\n"
    )
    for path in (one, other):
        deployed.merge(path, lines)
    changed = deployed.read(one)
    assert changed["flash-a"]["image_volume_cache_max_count"] == ["12"]
    assert changed["flash-a"]["new"] == ["1"]
    assert changed["DEFAULT"]["scheduler_max_attempts"] == ["9"]
    assert changed["oslo_messaging_notifications"]["driver"] == ["messagingv2", "log"]
    assert "flash-a" not in deployed.read(other)
    lines.write_text(
        "[DEFAULT]\nscheduler_max_attempts = 3\n"
        "[flash-a]\nimage_volume_cache_enabled = true\nimage_volume_cache_max_count = 8\n"
    )
    deployed.merge(one, lines)
    restored = deployed.read(one)
    assert restored["flash-a"].pop("new") == ["1"] and restored == before


def test_a_day_of_the_lab_is_a_day_of_the_copy() -> None:
    begin = datetime.fromisoformat("2026-03-01T12:00:00+00:00")
    days = Days(int(begin.timestamp()), 40)
    assert days.of(begin.timestamp() + 100) == 2.5
    assert datetime.fromisoformat(f"{days.date(3)}+00:00") == begin - BACK + timedelta(days=3)


def test_what_was_measured_stands_beside_what_was_promised(tmp_path: Path) -> None:
    (tmp_path / "promised.csv").write_text(
        "volume_type,kind,creates,p50_s,p95_s\nflash,cold,3,10,20\nflash,storm,10,30,31\n"
    )
    rows = [f"cold,flash,available,{took}" for took in (9, 11)] + [
        "cold,flash,error,",
        "warm,flash,available,4",
    ]
    (tmp_path / "measured.csv").write_text("\n".join(["kind,volume_type,status,create_s", *rows]) + "\n")
    found = deployed.beside(tmp_path / "promised.csv", tmp_path / "measured.csv").set_index("kind")
    assert list(found.index) == ["cold", "storm", "warm"]
    assert found.loc["cold", ["promised", "promised_p50_s", "measured", "measured_p50_s"]].tolist() == [
        3,
        10,
        2,
        10,
    ]
    assert found.loc["warm", "measured_p50_s"] == 4 and pd.isna(found.loc["warm", "promised"])
    assert pd.isna(found.loc["storm", "measured"])


GOOD = {"planned limits": "kept", "too few days": "cannot tell yet", "other limits": "not kept"}
NAMED = {
    "run": "other limits",
    "kind": "settings",
    "why": "[a] image_volume_cache_max_count is 8, and not 12",
}


@pytest.mark.parametrize(
    ("verdicts", "watched", "left", "why", "told"),
    [
        ({}, {"fills": (3.0, 3.0)}, 0, [NAMED], 0),
        ({"planned limits": "cannot tell yet"}, {}, 0, [NAMED], 1),
        ({"too few days": "kept"}, {}, 0, [NAMED], 1),
        ({"other limits": "kept"}, {}, 0, [NAMED], 1),
        ({}, {"fills": (3.0, 2.0)}, 0, [NAMED], 1),
        ({}, {"fills": (float("nan"), 2.0)}, 0, [NAMED], 1),
        ({}, {}, 1, [NAMED], 1),
        ({}, {}, 0, [], 1),
        ({}, {}, 0, [NAMED, {**NAMED, "run": "planned limits"}], 1),
    ],
)
def test_all_that_is_not_as_it_must_be_is_told(
    verdicts: dict[str, str],
    watched: dict[str, tuple[float, float]],
    left: int,
    why: list[dict[str, str]],
    told: int,
) -> None:
    judged = pd.DataFrame(
        [
            {"run": run, "backend": "a", "figure": "hit_rate", "verdict": one}
            for run, one in (GOOD | verdicts).items()
        ]
    )
    seen = [{"figure": name, "prometheus": one, "lab": other} for name, (one, other) in watched.items()]
    table = pd.DataFrame(
        [*seen, {"figure": "scrapes", "prometheus": 9.0}], columns=["figure", "prometheus", "lab"]
    )
    assert len(deployed.problems(judged, table, left, why)) == told


def test_the_load_is_that_of_its_generator() -> None:
    case = load(deployed.SCENARIO)
    made = trace.days(list(case.images.values()), deployed.DAYS, deployed.DAY_S, creates=24, seed=11)
    kept = pd.read_csv(deployed.SCENARIO.with_name("deployed.csv"), dtype={"size_gib": "Int64"})
    columns = ["time", "event", "volume_id", "image_id", "size_gib", "volume_type"]
    pd.testing.assert_frame_equal(made[columns].replace("", pd.NA), kept[columns], check_dtype=False)


def test_a_verdict_gives_a_row_for_each_figure_and_each_reason() -> None:
    figure = {"backend": "a", "figure": "p95_s", "promised": 7.0, "observed": 9.0, "observed_low": 8.0}
    figure |= {"observed_high": 10.0, "creates": 80, "verdict": "not kept", "wait_days": None, "why": ""}
    document = {"figures": [figure], "why": [{"kind": "settings", "text": "[a] is 8"}]}
    rows, why = deployed.rows_of("other limits", 1, document)
    assert rows == [{"run": "other limits", "exit_code": 1} | {k: figure[k] for k in list(figure)[:-1]}]
    assert why == [{"run": "other limits", "kind": "settings", "why": "[a] is 8"}]
