"""A plan's document as text, right at 80 columns: the answer first, then why, then the lines to paste."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from sim.inputs.limits import ENABLED, MAX_COUNT, MAX_SIZE
from sim.report.terminal import filled, item, text_of

DAY_S = 86_400
Document = Mapping[str, Any]


def plan_text(document: Document) -> str:
    """The whole text."""
    return text_of(*_parts(document))


def verdict(document: Document) -> str:
    """One line: whether the plan keeps every bound that was asked for."""
    asked = any(each["asked"] for each in document["targets"])
    met = "everything asked for is kept" if asked else "the most hits without more failed creates"
    found = met if document["met"] else "NOT EVERYTHING CAN BE KEPT; the nearest is"
    return f"{document['scenario']}{changed(document)}: {found}"


def changed(document: Document) -> str:
    """The changes of the load that it was planned for, each after a comma."""
    return "".join(f", {_change(key, value)}" for key, value in document["changes"].items())


def _parts(document: Document) -> Iterable[RenderableType]:
    yield Text(verdict(document), style="bold")
    yield Text(f"strategy: {document['strategy']}")
    yield ""
    yield _limits(document)
    yield ""
    yield Text(f"against today ({document['today']['strategy']})", style="bold")
    yield _tiers(document)
    yield Text(filled(f"Below a figure: {fine_print(document)}"), style="dim")
    yield from _listed("why", [each["text"] for each in document["binding"]])
    yield from _listed("and not", [f"{each['strategy']}: {each['text']}" for each in document["runners_up"]])
    if "back_test" in document:
        yield ""
        yield Text("back-test", style="bold")
        yield _back_test(document["back_test"])
    if "sensitivity" in document:
        yield ""
        yield Text("what if", style="bold")
        yield _sensitivity(document["sensitivity"])
    yield ""
    yield Text("cinder.conf", style="bold")
    for line in (document["cinder_conf"], *(f"\n$ {command}" for command in document["quota"]["commands"])):
        yield Text(line, no_wrap=True, overflow="ignore")  # to be pasted


def _change(key: str, value: float) -> str:
    if key == "workload.until":
        return f"its first {value / DAY_S:.1f} days"
    return f"{key.rpartition('.')[2]} {value:g}"


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(
            heading, justify="right" if table.columns else "left", overflow="fold", vertical="bottom"
        )
    return table


def _limits(document: Document) -> Table:
    table = _table(
        "backend", "max_size_gb", "max_count", "hit %", "p95 s", "image\nGiB peak", "all vols\npeak"
    )
    for name, of in document["backends"].items():
        limits = ("off", "off")
        if of[ENABLED]:
            limits = (_limit(of[MAX_SIZE]), _limit(of[MAX_COUNT]))
        table.add_row(
            name,
            *limits,
            between(of, "hit_rate", 100),
            number(of["p95_s"]),
            number(of["space_gib_peak"]),
            number(of["volumes_peak"]),
        )
    return table


def _limit(value: int) -> str:
    return f"{value:,}" if value else "no limit"


def _tiers(document: Document) -> Table:
    table = _table("tier", "", "hit %", "p95 s", "errors", "GiB mean", "GiB peak", "price")
    for tier in document["tiers"]:
        if tier == "all" and len(document["tiers"]) == 2:
            continue
        for word, of in (("today", document["today"]["tiers"][tier]), ("plan", document["tiers"][tier])):
            table.add_row(
                tier if word == "today" else "",
                word,
                between(of, "hit_rate", 100),
                between(of, "p95_s"),
                between(of, "errors"),
                between(of, "space_gib_mean"),
                number(of["space_gib_peak"]),
                between(of, "price_month"),
            )
    return table


def fine_print(document: Document) -> str:
    """A note on the figures: their units, their intervals, and the runs behind them."""
    of = document["intervals"]
    means = {
        "replications": f"{of['units']} replications",
        "blocks": f"one history: a bootstrap over its {of['units']} blocks of time",
    }[of["of"]]
    checked = document["checked_by_cinder"]
    said = "and by Cinder's own code, with the same result"
    if not checked["equal"]:
        said = "but Cinder's own code differs (see checked_by_cinder in --json)"
    return (
        f"{100 * of['confidence']:g} % intervals ({means}). GiB: image-volumes, provisioned; price: a "
        f"month, of their physical space. {counted(document)}; the plan whole, {said}."
    )


def counted(document: Mapping[str, Any]) -> str:
    """How much a plan or advice rests on."""
    creates = document["requests_simulated"]
    return f"{document['cells']:,} runs of {creates:,} creates in all, equal ones simulated once"


def _listed(title: str, lines: list[str]) -> Iterable[RenderableType]:
    if lines:
        yield ""
        yield Text(title, style="bold")
        for line in lines:
            yield Text(item(line))


def _back_test(rows: list[Document]) -> Table:
    table = _table("on the rest", "hit %", "p95 s", "errors", "GiB mean", "GiB peak")
    for row in rows:
        table.add_row(
            row["which"],
            between(row, "hit_rate", 100),
            between(row, "p95_s"),
            between(row, "errors"),
            between(row, "space_gib_mean"),
            number(row["space_gib_peak"]),
        )
    return table


def _sensitivity(rows: list[Document]) -> Table:
    table = _table("if", "hit %", "p95 s", "errors", "kept", "limits needed")
    for row in rows:
        needed = row["limits_factor"]
        table.add_row(
            row["change"],
            between(row, "hit_rate", 100),
            number(row["p95_s"]),
            number(row["errors"]),
            "yes" if row["met"] else "no",
            "-" if needed is None else f"x {needed:g}",
        )
    return table


def between(of: Document, name: str, times: float = 1, signed: bool = False) -> str:
    """A figure, and below it its interval, if there is one. `signed`: it is a difference."""
    if of[name] is None:
        return "-"
    low, high = of.get(f"{name}_low"), of.get(f"{name}_high")
    sign = "+" if signed and of[name] > 0 else ""
    text = f"{sign}{number(times * of[name])}"
    if low is None or high is None or (low == high == of[name]):
        return text
    if signed:  # ends may have signs, too
        return f"{text}\n{_short(times * low)} to {_short(times * high)}"
    return f"{text}\n{number(times * low)}-{number(times * high)}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.2g}"


def number(value: float | None) -> str:
    """A number with three digits or more."""
    if value is None:
        return "-"
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
