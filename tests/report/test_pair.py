"""Two results side by side: what differs, by how much, and whether that is more than chance."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from handmade import records_of, scenario_file
from scipy import stats
from typer.testing import CliRunner
from typer.testing import Result as Ended

from sim.analysis.apart import History, Value, alike, paired, unpaired
from sim.analysis.results import EACH, MANIFEST, write
from sim.cli import app
from sim.inputs.kept import kept, keys_of
from sim.inputs.problems import Problems
from sim.model.usage import ALL
from sim.report.pair import folded, report_of, rows_together, signed
from sim.report.side import MADE, Side, Told, read_side
from sim.workload.loading import load

DAYS = 12
TRACE = "time,event,volume_id,image_id,size_gib,volume_type,host\n" + "".join(
    f"{day * 86_400 + 3_600 * number},create,{day}-{number},qcow,40,disk,\n"
    for day in range(DAYS)
    for number in range(3)
)


def cinder_cache(*args: object) -> Ended:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def ran(folder: Path, write_mib_s: float, strategy: str = "none", **changes: Any) -> Path:
    """A folder of `run` on 36 creates, an hour and more apart, of an image of 4 GiB."""
    folder.mkdir()
    slow = {"volume_type": ["disk", "flash"], "pools": {"p0": {}}, "write_mib_s": write_mib_s}
    path = scenario_file(
        folder, trace=TRACE, backends={"slow": slow}, tiers={"disk": {}, "flash": {}}, **changes
    )
    result = cinder_cache("run", path, "--strategy", strategy, "--out", folder / "out")
    assert result.exit_code == 0, result.output
    return folder / "out"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same creates, written at 512 and at 256 MiB/s: each takes 4096 / 512 = 8 s more."""
    folder = tmp_path_factory.mktemp("runs")
    return ran(folder / "before", 512), ran(folder / "after", 256)


def document(*args: object) -> dict[str, Any]:
    result = cinder_cache("report", *args, "--json")
    assert result.exit_code == 0, result.output
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def figure(of: dict[str, Any], measure: str, where: str = "all tiers") -> dict[str, Any]:
    return next(each for each in of["differences"] if (each["where"], each["measure"]) == (where, measure))


# -- runs ----------------------------------------------------------------------------------------------


def test_a_slower_array_takes_the_seconds_that_its_rate_says(folders: tuple[Path, Path]) -> None:
    told = document(*folders)
    assert told["paired"] == {"none": True}
    for measure in ("create_s_mean", "create_s_p95"):
        found = figure(told, measure)
        assert [found[name] for name in ("difference", "low", "high")] == pytest.approx([8, 8, 8])
        assert found["differs"] is True
    assert figure(told, "clone_hit_rate")["differs"] is False
    assert [(each["key"], each["a"], each["b"]) for each in told["settings"]] == [
        ("backends.slow.write_mib_s", "512", "256")
    ]
    assert told["verdict"][0] == "B is worse than A (none; all creates)."
    assert "95 % of the creates take longer" in told["verdict"][1]
    other = document(*reversed(folders))
    assert figure(other, "create_s_p95")["difference"] == pytest.approx(-8)
    assert other["verdict"][0] == "B is better than A (none; all creates)."


def test_a_folder_beside_itself_differs_in_nothing(folders: tuple[Path, Path]) -> None:
    told = document(folders[0], folders[0])
    assert not any(each["differs"] for each in told["differences"])
    assert told["settings"] == told["only"] == told["unknown"] == []
    assert told["verdict"][0] == "B and A do not differ by more than chance (none; all creates)."


def test_text_and_page_have_what_differs_before_what_is_alike(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    shown = cinder_cache("report", *folders, "--out", tmp_path / "pair")
    assert shown.exit_code == 0, shown.output
    places = [shown.stdout.index(text) for text in ("settings that differ", "what differs", "Alike, or")]
    assert places == sorted(places)
    assert max(map(len, shown.stdout.splitlines())) <= 80
    page = (tmp_path / "pair" / "report.html").read_text()
    titles = re.findall(r"<h2[^>]*>([^<]*)</h2>", page)
    assert titles[:3] == ["The answer", "Settings that differ", "What differs"]
    assert "+8.00 s (+8.00 to +8.00)" in page and "backends.slow.write_mib_s" in page
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids)) and "https:" not in page
    table = pd.read_csv(tmp_path / "pair" / "differing.csv")
    assert table["differs"].tolist() == sorted(table["differs"], reverse=True)
    again = cinder_cache("report", *folders, "--out", tmp_path / "again")
    assert again.exit_code == 0
    assert (tmp_path / "again" / "report.html").read_text() == page


def test_runs_of_two_strategies_stand_beside_each_other(folders: tuple[Path, Path], tmp_path: Path) -> None:
    told = document(folders[0], ran(tmp_path / "cached", 512, "cache-only"))
    assert list(told["paired"]) == ["none | cache-only"]
    assert "(none in A, cache-only in B; all creates)" in told["verdict"][0]
    hits = figure(told, "clone_hit_rate")
    assert (hits["a"], hits["b"], hits["differs"]) == (0, pytest.approx(35 / 36), True)
    assert {"[slow] image_volume_cache_enabled"} <= {each["key"] for each in told["settings"]}


def test_what_one_side_alone_has_is_told(folders: tuple[Path, Path], tmp_path: Path) -> None:
    both = tmp_path / "both"
    for name in ("none", "combined"):
        shutil.copytree(folders[0] / "none", both / name)
        summary, manifest = both / name / "summary.csv", both / name / MANIFEST
        summary.write_text(summary.read_text().replace("flash,", "gold,"))
        manifest.write_text(manifest.read_text().replace('"strategy": "none"', f'"strategy": "{name}"'))
    told = document(both, folders[1])
    assert told["only"] == ["Only A has: combined, tier gold.", "Only B has: tier flash."]


def test_an_old_folder_stands_beside_a_new_one(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """One without settings, and without the tables that came later."""
    old = tmp_path / "old"
    shutil.copytree(folders[0], old)
    for name in ("nodes", "directories", "links"):
        (old / "none" / f"{name}.csv").unlink()
    manifest = json.loads((old / "none" / MANIFEST).read_text())
    del manifest["settings"], manifest["tables"]
    (old / "none" / MANIFEST).write_text(json.dumps(manifest))
    told = document(old, folders[1])
    assert figure(told, "create_s_mean")["difference"] == pytest.approx(8)
    assert told["unknown"] == [
        "A (run) does not keep its settings: an earlier version wrote it, or it has none."
    ]


def test_every_problem_of_both_is_told_at_once(folders: tuple[Path, Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folders[0], broken)
    (broken / "none" / "summary.csv").write_text("nonsense\n1\n")
    result = cinder_cache("report", broken, tmp_path / "lost", "--out", broken)
    assert result.exit_code == 2 and "Traceback" not in result.output
    assert [line.split(": ")[0] for line in result.stderr.splitlines()] == [
        "--out",
        str(broken / "none"),
        str(tmp_path / "lost"),
    ]
    (tmp_path / "empty").mkdir()
    (tmp_path / "odd.json").write_text("[]")
    (tmp_path / "plan.json").write_text('{"today": {}, "runners_up": [], "warm_up_s": 0, "scenario": "x"}')
    for name, why in (
        ("empty", "has no results"),
        ("odd.json", "has no results"),
        ("plan.json", "is damaged"),
    ):
        result = cinder_cache("report", tmp_path / name, folders[0])
        assert (result.exit_code, why in result.stderr, "Traceback" in result.output) == (2, True, False)


# -- intervals -----------------------------------------------------------------------------------------


def history(hits: np.ndarray[Any, Any], creates: int = 100) -> History:
    """Replications whose creates have so many clones."""
    each = pd.DataFrame(
        {"tier": ALL, "strategy": "none", "replication": range(len(hits)), "creates": creates}
    ).assign(clone_hit_rate=hits / creates, errors=0, other_errors=0)
    return History(records_of([{}]).requests, records_of([]).others, (), each=each)


def test_replications_of_the_same_creates_are_paired_as_student_does() -> None:
    rng = np.random.default_rng(3)
    old = rng.integers(20, 60, 8)
    new = old + rng.integers(0, 5, 8)
    one, other = history(old), history(new)
    assert alike(one, other) and not alike(one, history(new, 101)) and not alike(one, history(new[:7]))
    found = paired(one, other)[ALL]["clone_hit_rate"]
    expected = stats.ttest_rel(new / 100, old / 100).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.mean == pytest.approx((new - old).mean() / 100) and found.sure


def test_unpaired_intervals_add_up_as_variances_do() -> None:
    """A mean of 10 ± 3 less one of 4 ± 4 is 6 ± 5; an end that is unknown leaves the other unknown, too."""
    assert unpaired(Value(4, 0, 8), Value(10, 7, 13)) == Value(6, 1, 11)
    assert unpaired(Value(4, 4, 4), Value(10, 9, 13)) == Value(6, 5, 9)
    bare = unpaired(Value(4), Value(10, 7, 13))
    assert bare.mean == 6 and not bare.bounded and not bare.sure
    assert not Value(0, -1, 1).sure and Value(2, 1, 3).sure and Value(-2, -3, -1).sure


# -- plan, advise, verdict -----------------------------------------------------------------------------


def figures(hits: float, p95_s: float, **more: Any) -> dict[str, Any]:
    return {
        "creates": 1000,
        "errors": 100.0,
        "other_errors": 0.0,
        **{"hit_rate": hits, "hit_rate_low": hits - 0.03, "hit_rate_high": hits + 0.03},
        **{"p95_s": p95_s, "p95_s_low": p95_s - 5, "p95_s_high": p95_s + 5},
        **more,
    }


def a_plan(path: Path, hits: float = 0.63, count: int = 9) -> Path:
    def part(strategy: str, rate: float) -> dict[str, Any]:
        options = {"image_volume_cache_enabled": True, "image_volume_cache_max_size_gb": 0}
        backend = options | {"image_volume_cache_max_count": count} | figures(rate, 100.0)
        return {"strategy": strategy, "tiers": {"all": figures(rate, 100.0)}, "backends": {"a": backend}}

    document = {"scenario": "x", "runners_up": [], "warm_up_s": 0.0, **part("cache-only", hits)}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document | {"today": part("none", 0.1)}))
    return path.parent


def a_verdict(path: Path, hits: float) -> Path:
    found = [
        {"backend": name, "figure": kind, "creates": 900}
        | {f"promised{end}": value for end in ("", "_low", "_high")}
        | {"observed": seen, "observed_low": seen - 0.03 * seen, "observed_high": seen + 0.04 * seen}
        for name in ("all", "a")
        for kind, value, seen in (("hit_rate", 0.7, hits), ("p95_s", 100.0, 102.0))
    ]
    document = {"verdict": "kept", "figures": found, "since": "2026-01-01", "until": "2026-02-01"}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document))
    return path.parent


def test_a_plan_beside_what_came_of_it(tmp_path: Path) -> None:
    """630 clones of 1,000 creates of which 900 succeed: 70 % of these, which is what a verdict tells."""
    told = document(a_plan(tmp_path / "plan/plan.json"), a_verdict(tmp_path / "seen/verdict.json", 0.5))
    assert list(told["paired"].items()) == [("plan | observed", False)]
    assert {each["where"] for each in told["differences"]} == {"all tiers", "backend a"}
    hits = figure(told, MADE)
    assert (hits["a"], hits["difference"], hits["differs"]) == (pytest.approx(0.7), pytest.approx(-0.2), True)
    half = np.hypot(0.03 * 0.5, 0.03 / 0.9)
    assert hits["low"] == pytest.approx(-0.2 - half)
    assert figure(told, "create_s_p95")["differs"] is False
    shown = cinder_cache("report", tmp_path / "plan", tmp_path / "seen").stdout
    assert "A is of plan, B of verdict." in " ".join(shown.split())


def test_two_plans(tmp_path: Path) -> None:
    told = document(a_plan(tmp_path / "a/plan.json"), a_plan(tmp_path / "b/plan.json", 0.8, 20))
    assert list(told["paired"]) == ["today", "plan"] and told["a"]["path"] == str(tmp_path / "a")
    assert [(each["rows"], each["key"], each["a"], each["b"]) for each in told["settings"]] == [
        ("plan", "[a] image_volume_cache_max_count", "9", "20")
    ]
    assert told["verdict"][0] == "B is better than A (plan; all creates)."


def test_rows_that_belong_together() -> None:
    def side(kind: str, *rows: tuple[str, str, str]) -> Side:
        return Side(Path(kind), kind, "x", [Told(name, strategy, {}, role) for name, strategy, role in rows])

    def names(a: Side, b: Side) -> list[tuple[str, str]]:
        return [(one.name, other.name) for one, other in rows_together(a, b)]

    plan = side("plan", ("today", "none", "today"), ("plan", "combined", "promise"))
    advice = side("advise", ("today", "none", "today"), ("with all actions", "combined", "promise"))
    rows = side(
        "compare", ("none", "none", ""), ("combined", "combined", ""), ("store-only", "store-only", "")
    )
    verdict = side("verdict", ("promised", "", ""), ("observed", "", "observed"))
    assert names(plan, advice) == [("today", "today"), ("plan", "with all actions")]
    assert names(plan, rows) == [("today", "none"), ("plan", "combined")]
    assert names(rows, plan) == [("none", "today"), ("combined", "plan")]
    assert names(advice, verdict) == [("with all actions", "observed")]
    assert names(verdict, verdict) == [("promised", "promised"), ("observed", "observed")]
    assert names(rows, verdict) == [(row.name, "observed") for row in rows.rows]
    assert report_of(plan, side("compare")).first is None


def test_a_part_of_a_scenario_that_one_side_lacks_is_one_line() -> None:
    """Of a trace beside a generated workload, the report does not list some forty keys."""
    parts: dict[str, Any] = {
        "workload.generate.duration": 1,
        "workload.generate.projects.count": 2,
        "seed": 7,
    }
    lacking: dict[str, Any] = {"workload.generate": None, "seed": 7}
    whole = {"seed": 7, "workload.generate": "2 keys"}
    assert folded(dict(parts), dict(lacking)) == [whole, lacking]
    assert folded(dict(lacking), dict(parts)) == [lacking, whole]


def test_settings_are_kept_without_defaults_and_told_with_them(tmp_path: Path) -> None:
    scenario = load(scenario_file(tmp_path)).scenario
    told = kept(scenario)
    assert "boot_timeout_s" not in told and "images" not in told
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    keys = keys_of(told)
    assert keys["boot_timeout_s"] == 180 and keys["backends.fast.write_mib_s"] == 512
    assert keys_of(told | {"of_a_later_version": 1})["of_a_later_version"] == 1


def test_summaries_of_an_earlier_comparison_are_not_taken(folders: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "again"
    shutil.copytree(folders[0], folder)
    first = pd.read_csv(folder / "none" / "summary.csv")
    for creates, count in ((first["creates"], 2), (first["creates"] + 1, 0)):
        each = [first.assign(replication=number, creates=creates) for number in range(2)]
        pd.concat(each).to_csv(folder / EACH, index=False)
        side = read_side(folder, Problems())
        assert side is not None and side.rows[0].history is not None
        found = side.rows[0].history.each
        assert (0 if found is None else found["replication"].nunique()) == count


def test_parquet_is_read_as_csv_is(folders: tuple[Path, Path], tmp_path: Path) -> None:
    from sim.analysis.results import read

    tables, manifest = read(folders[0] / "none")
    write(tables, manifest, tmp_path / "none", "parquet")
    assert document(folders[0], tmp_path)["paired"] == {"none": True}


def test_signs() -> None:
    assert [signed(each) for each in (0, 1.234, -12.34, 123.4, -1234567)] == [
        *("0", "+1.23", "-12.3", "+123", "-1,234,567")
    ]
