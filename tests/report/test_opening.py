"""What a report opens with: sentences, three figures of each tier beside today's, and what is to be done."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from sim.cli import app
from sim.plots.frame import number
from sim.report.page import FILE
from sim.report.planned import verdict_of
from sim.report.swept import _reasons as reasons
from sim.report.swept import recommended
from tests.report.making import report


def answer(folder: Path) -> str:
    """The text of the first section, a line for each element."""
    text = (folder / FILE).read_text()
    section = text[text.index('<section id="answer"') : text.index("</section>")]
    return html.unescape(re.sub(r"\s*\n\s*", "\n", re.sub(r"<[^>]+>", "\n", section)))


def cards(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """By title of a card: each of its numbers, and the one beside it."""
    text = (folder / FILE).read_text()
    found = {}
    for title, card in re.findall(r'<div class="card"[^>]*aria-label="([^"]+)">(.*?)</dl>', text, re.DOTALL):
        values = re.findall(r"<strong>([^<]*)</strong>.*?class=.today.>[a-z ]+([^<:]*)[:<]", card, re.DOTALL)
        found[title] = [(value, today.strip()) for value, today in values]
    return found


def said(of: dict[str, Any], third: str) -> list[str]:
    """The figures of a card as a page writes them, without the code that writes them."""
    return [f"{100 * of['hit_rate']:.1f} %", f"{number(of['p95_s'])} s", number(of[third])]


def test_a_plan_opens_with_its_figures_beside_todays(folders: dict[str, Path]) -> None:
    plan = json.loads((folders["plan"] / "plan.json").read_text())
    shown = cards(folders["plan"])
    assert list(shown) == ["All tiers", "Tier flash", "Tier disk"]
    for title, tier in zip(shown, ("all", "flash", "disk"), strict=True):
        now, then = plan["today"]["tiers"][tier], plan["tiers"][tier]
        assert not (now["errors"] or then["errors"])
        assert shown[title] == list(zip(said(then, "price_month"), said(now, "price_month"), strict=True))
    text = answer(folders["plan"])
    sentences = re.findall(r'<p class="verdict">', (folders["plan"] / FILE).read_text())
    assert len(sentences) == 3
    assert f"Run {plan['strategy']} with the limits below: it keeps everything that you asked for." in text
    assert "Today is cache-only with the limits of the scenario." in text


def test_a_sweep_opens_with_its_point_beside_today(folders: dict[str, Path]) -> None:
    key = "backends.*.image_volume_cache_max_count"
    certain = pd.read_csv(folders["sweep"] / "intervals.csv", keep_default_na=False, na_values=[""])
    shown, text = cards(folders["sweep"]), answer(folders["sweep"])
    assert list(shown) == ["All tiers", "Tier flash", "Tier disk"]
    named = re.search(rf"Run ([a-z-]+), {re.escape(key)} = (\d):", text)
    assert named is not None
    own = certain[(certain["strategy"] == named[1]) & (certain[key] == int(named[2]))]
    for title, name in zip(shown, ("", "flash", "disk"), strict=True):
        row = own[own["scope"].isin(["all", "tier"]) & (own["name"].fillna("") == name)].iloc[0]
        hits, seconds, price = (value for value, _ in shown[title])
        assert (
            hits == f"{100 * row['clone_hit_rate']:.1f} %" and seconds == f"{number(row['create_s_p95'])} s"
        )
        assert price == number(row["price_month"])
    plan = json.loads((folders["plan"] / "plan.json").read_text())["today"]["tiers"]
    today = [[now for _, now in of] for of in shown.values()]
    assert today == [said(plan[tier], "price_month") for tier in ("all", "flash", "disk")]
    assert "Today is cache-only with the values of the scenario." in text


def test_a_plan_for_the_most_hits_names_a_cheaper_choice_within_the_interval(
    folders: dict[str, Path],
) -> None:
    plan = json.loads((folders["plan"] / "plan.json").read_text())
    own = plan["tiers"]["all"]
    plan |= {"targets": [], "met": True}
    plan["runners_up"] = [
        {"strategy": "none", "text": "", "hit_rate": own["hit_rate_low"] - 0.01, "price_month": 0.0},
        {"strategy": "dear", "text": "", "hit_rate": own["hit_rate"], "price_month": own["price_month"] / 2},
        {"strategy": "near", "text": "", "hit_rate": own["hit_rate_low"], "price_month": 0.01},
        {"strategy": "unfit", "text": ""},
    ]
    hits = f"{100 * own['hit_rate_low']:.1f} %"
    told = f"With near, {hits} are clones, as many within the interval, for 0.01 a month."
    assert verdict_of(plan).sentences[2].endswith(told)
    assert not verdict_of(plan | {"targets": [{"asked": True}]}).sentences[2].endswith(told)
    assert not verdict_of(plan | {"runners_up": plan["runners_up"][::3]}).sentences[2].count("With")


def test_a_plan_that_cannot_keep_what_was_asked_says_so_first(scenario: Path, tmp_path: Path) -> None:
    command = ["plan", str(scenario), "--target-hit-rate", "1", "--workers", "1", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert answer(tmp_path).split("\n")[2].startswith("Not everything that you asked for can be kept.")


def test_a_comparison_opens_with_its_row_beside_todays(folders: dict[str, Path]) -> None:
    """The scenario does not say `today`, and its backends have caches. What stays is shown beside `none`."""
    folder = folders["compare"]
    ((verb, row),) = re.findall(r"(Run|Keep) ([a-z-]+):", answer(folder))
    assert "Today is cache-only, by the caches of the backends" in answer(folder)
    beside = "none" if verb == "Keep" else "cache-only"
    assert ("beside its figures are those of none" in answer(folder)) == (verb == "Keep")
    now, then = (
        pd.read_csv(folder / name / "summary.csv").set_index("tier").loc["flash"] for name in (beside, row)
    )
    keys = {"clone_hit_rate": "hit_rate", "create_s_p95": "p95_s"}
    assert cards(folder)["Tier flash"] == list(
        zip(*(said(of.rename(keys).to_dict(), "price_month") for of in (then, now)), strict=True)
    )


@pytest.mark.parametrize(
    ("today", "told"),
    [
        ("store-only", "Today is store-only, as the scenario says."),
        ("none", "Today is none, as the scenario says."),
    ],
)
def test_a_comparison_says_what_today_is(scenario: Path, tmp_path: Path, today: str, told: str) -> None:
    path = scenario.parent / f"today-{today}.yaml"
    path.write_text(scenario.read_text() + f"today: {today}\n")
    folder = report("compare", path, tmp_path)
    row = "none" if today == "none" else "today"
    now = pd.read_csv(folder / row / "summary.csv").set_index("tier").loc["all"]
    assert told in answer(folder)
    assert cards(folder)["All tiers"][0][1] == f"{100 * now['clone_hit_rate']:.1f} %"


def test_a_sweep_does_not_recommend_what_fails_more() -> None:
    """By hand: b and c have as many hits as a, within its interval; b takes less space and fails more."""
    points = pd.DataFrame(
        {
            "scope": "all",
            "clone_hit_rate": [0.90, 0.89, 0.89, 0.5],
            "clone_hit_rate_low": [0.88, 0.87, 0.87, 0.4],
            "errors": [100.0, 203.0, 110.0, 0.0],
            "errors_high": [120.0, 230.0, 130.0, 0.0],
            "other_errors": 0.0,
            "other_errors_high": 0.0,
            "image_provisioned_gib_mean": [90.0, 40.0, 60.0, 1.0],
        }
    )
    assert recommended(points) == 2
    assert recommended(points.assign(errors_high=float("nan"))) == 0  # without an interval, the fewest


def test_a_single_replication_that_did_not_fail_is_compared_by_its_value() -> None:
    """It has no interval: of as many hits, the point in the least space is recommended all the same."""
    points = pd.DataFrame({"scope": "all", "strategy": "cache-only", "clone_hit_rate": [0.9, 0.9]})
    points = points.assign(clone_hit_rate_low=[float("nan"), 0.8], errors=0.0, errors_high=0.0)
    points = points.assign(other_errors=0.0, other_errors_high=0.0, image_provisioned_gib_mean=[90.0, 40.0])
    assert recommended(points) == 1
    told = reasons(points.assign(of="replications", units=[1, 3]), [], failed=2)
    assert told[-2:] == [
        "In brackets: 95 % intervals over 3 replications.",
        "2 cells failed and are left out.",
    ]
