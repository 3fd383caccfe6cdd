"""Shared links: shares are max-min fair by the definition, and bytes are conserved in every run."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fast.drawn import drawn

import sim
from sim.cinder import engine
from sim.cinder.clock import LATER, Clock
from sim.cinder.links import Transfers
from sim.cinder.parts import Parts
from sim.inputs.problems import BadInput
from sim.model.initial import misfits
from sim.model.links import GLANCE, NODE, NONE, Links, divide
from sim.model.records import Records
from sim.workload.loading import load

CLOSE = 1e-9
SCENARIOS = sorted((Path(__file__).parents[1] / "scenarios").glob("*.yaml"))


@pytest.mark.parametrize("seed", range(30))
def test_each_route_has_a_bottleneck(seed: int) -> None:
    """Max-min fair: on some link of each route, which is full, no other route has a larger share."""
    draw = random.Random(seed)
    links = Links()
    links.begin()
    ends = [links.link(draw.choice((10.0, 30.0, 77.7, 1000.0)), NODE, str(n)) for n in range(5)]
    for _ in range(draw.randrange(1, 8)):
        route = links.route(*draw.sample(ends, draw.choice((1, 2))))
        links.routes[route].streams = draw.choice((0, 1, 2, 7))
    divide(links, 0)
    used = [(set(_links(route)), route) for route in links.routes if route.streams]
    for link in ends:
        assert sum(r.streams * r.share_mib_s for on, r in used if link in on) <= (
            links.links[link].total_mib_s * (1 + CLOSE)
        )
    for on, route in used:
        assert any(
            sum(r.streams * r.share_mib_s for other, r in used if link in other)
            >= links.links[link].total_mib_s * (1 - CLOSE)
            and all(r.share_mib_s <= route.share_mib_s * (1 + CLOSE) for other, r in used if link in other)
            for link in on
        )


def _links(route: Any) -> list[int]:
    return [link for link in (route.first, route.second) if link != NONE]


@dataclass(eq=False)
class Stream:
    """A transfer, and what it has moved as the shares tell it."""

    route: int
    mib: float
    own_mib_s: float
    moved_mib: float = 0.0


@dataclass
class Seen:
    """What a run has moved over the links. `wrong`: Cinder's code would catch an AssertionError."""

    under_way: list[Stream] = field(default_factory=list)
    since: float = 0.0
    done: int = 0
    most: int = 0
    wrong: list[str] = field(default_factory=list)


def watching(seen: Seen) -> type[Transfers]:
    """Transfers that are counted stream by stream, in intervals between which no share changes."""

    class Watched(Transfers):
        def carry(self, route: int, mib: float, own_mib_s: float) -> None:
            stream = Stream(route, mib, own_mib_s)
            self._count()
            seen.under_way.append(stream)
            super().carry(route, mib, own_mib_s)
            seen.under_way.remove(stream)
            if stream.moved_mib != pytest.approx(mib, rel=1e-6, abs=1e-6):
                seen.wrong.append(f"{stream} at {self._clock.now}")
            seen.done += 1

        def _look(self, component: int) -> None:
            self._count()
            super()._look(component)

        def _count(self) -> None:
            s, elapsed = self.shared, self._clock.now - seen.since
            seen.since = self._clock.now
            seen.most = max(seen.most, len(seen.under_way))
            for link, each in enumerate(s.links):
                crossing = [x for x in seen.under_way if link in _links(s.routes[x.route])]
                rate = sum(min(x.own_mib_s, s.routes[x.route].share_mib_s) for x in crossing)
                if rate > each.total_mib_s * (1 + CLOSE):
                    seen.wrong.append(f"link {link} at {self._clock.now}: {rate}")
            for stream in seen.under_way:
                stream.moved_mib += min(stream.own_mib_s, s.routes[stream.route].share_mib_s) * elapsed

    return Watched


def test_bytes_are_conserved(tmp_path: Path) -> None:
    """Each stream moves all its bytes between its begin and its end, and no link more than it can."""
    done = most = 0
    for seed in range(8):
        case, strategy = drawn(seed, tmp_path)
        seen = Seen()
        try:
            engine.run(case, strategy, parts=Parts(transfers=watching(seen)))
        except BadInput:  # what exists at the start does not fit
            continue
        assert not seen.under_way and not seen.wrong
        done, most = done + seen.done, max(most, seen.most)
    assert done > 50 and most > 4


def conserved(records: Records) -> int:
    """See that each link has carried the bytes of its transfers. Returns how many there were."""
    links = records.links
    assert links["carried_mib"].tolist() == pytest.approx(links["asked_mib"].tolist(), rel=1e-6, abs=1e-6)
    assert (links["busy"] <= 1 + CLOSE).all()
    return int(links["transfers"].sum())


def test_links_carry_the_bytes_of_drawn_cases(tmp_path: Path) -> None:
    """On both engines, which agree on what each link has carried."""
    transfers = 0
    for seed in range(12):
        case, strategy = drawn(seed, tmp_path)
        if misfits(case, [strategy]):
            continue
        first, second = (sim.run(case, strategy, engine) for engine in ("cinder", "fast"))
        pd.testing.assert_frame_equal(first.links, second.links, check_exact=True)
        transfers += conserved(first)
    assert transfers > 100


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_links_carry_the_bytes_of_each_scenario(path: Path) -> None:
    """Each scenario of the repository, with shared links: all that is downloaded comes over Glance's."""
    text = load(path)
    values: dict[tuple[str, ...], object] = {("glance", "total_mib_s"): 400}
    values |= {("backends", name, "array_mib_s"): 300 for name in text.scenario.backends}
    values |= {("workload", "until"): "4d"} if path.stem == "month" else {}
    case = load(path, values=values)
    records = sim.run(case, case.scenario.strategies[0], "fast")
    assert conserved(records) > 0
    glance = records.links.set_index("link").loc["glance"]
    of = records.requests[records.requests["source"] == "download"]["image_id"]
    least = sum(case.images[image].size_bytes for image in of) / 2**20
    alone = not (records.requests["status"] == "error").any() and records.uploads.empty
    assert glance["asked_mib"] >= least * (1 - CLOSE)
    if alone:
        assert glance["asked_mib"] == pytest.approx(least)


def test_what_is_under_way_has_carried_a_part() -> None:
    """Two transfers of 100 MiB over 10 MiB/s, one from second 4 on: at second 14 they have 60 MiB to go."""
    links = Links()
    links.begin()
    route = links.route(links.link(10.0, GLANCE, ""))
    clock = Clock(datetime(2026, 1, 1))
    transfers = Transfers(clock, links)
    seen: list[float] = []

    def carry(begin_s: float) -> None:
        clock.sleep(begin_s)
        transfers.carry(route, 100.0, math.inf)

    for begin_s in (0.0, 4.0):
        clock.start(carry, begin_s)
    clock.start(carry, 14.0)  # a third, so that something changes then
    clock.at(14.0, lambda _: seen.append(links.links[0].carried_mib), LATER)
    clock.run()
    clock.close()
    assert seen == [pytest.approx(140.0)]
    assert links.links[0].carried_mib == pytest.approx(links.links[0].asked_mib) == 300.0
    assert transfers.table(30.0)["busy"].tolist() == [pytest.approx(1.0)]
