"""Transfers over shared links, in simulated time (see sim/model/links.py)."""

from __future__ import annotations

import math
from heapq import heappop, heappush
from itertools import count

import pandas as pd

from sim.cinder.clock import LATER, Clock, Process, current_process
from sim.model import links
from sim.model.links import NONE, Flow, Links
from sim.model.records import links_table


class Transfers:
    """The transfers under way over the shared links of a scenario.

    One event waits for each component of the links, whatever the number of its streams.
    """

    def __init__(self, clock: Clock, shared: Links) -> None:
        self.shared = shared
        self._clock = clock
        self._streams: list[list[tuple[float, int, Process]]] = []  # of each flow, the first to end on top
        self._number = count()

    def carry(self, route: int, mib: float, own_mib_s: float) -> None:
        """Let the time pass in which the calling process moves so many MiB over a route."""
        s, component = self.shared, self.shared.routes[route].component
        links.advance(s, component, self._clock.now)
        if all(flow.streams for flow in s.flows):
            s.flows.append(Flow())
            self._streams.append([])
        flow = links.join(s, route, mib, own_mib_s)
        end_mib = s.flows[flow].moved_mib + mib
        heappush(self._streams[flow], (end_mib, next(self._number), current_process()))
        self._changed(component, flow)
        self._clock.park()

    def table(self, end: float) -> pd.DataFrame:
        """`Records.links` of a run over [0, `end`] seconds."""
        of = self.shared.links
        return links_table(
            self.shared.names,
            total_mib_s=[link.total_mib_s for link in of],
            transfers=[link.transfers for link in of],
            asked_mib=[link.asked_mib for link in of],
            carried_mib=[link.carried_mib for link in of],
            end=max([end, *(each.since for each in self.shared.components)]),
        )

    def _changed(self, component: int, flow: int) -> None:
        """A stream of a flow has begun or ended: divide the links anew, and wait for the next end."""
        s, streams = self.shared, self._streams[flow]
        if streams:
            s.flows[flow].first_end_mib = streams[0][0]
        links.divide(s, component)
        links.plan(s, component)
        if s.components[component].due < s.components[component].looks_at:
            self._wait(component)

    def _wait(self, component: int) -> None:
        p = self.shared.components[component]
        p.looks_at = at = max(p.due, self._clock.now)
        self._clock.at(at, lambda _: self._look(component), LATER)

    def _look(self, component: int) -> None:
        """End the stream that is due, if one is; else wait for it."""
        s, p, now = self.shared, self.shared.components[component], self._clock.now
        if p.looks_at != now:  # another event was earlier
            return
        p.looks_at = math.inf
        if p.due_flow == NONE:
            return
        if p.due > now:
            self._wait(component)
            return
        links.advance(s, component, now)
        flow = p.due_flow
        s.flows[flow].moved_mib = s.flows[flow].first_end_mib
        _, _, process = heappop(self._streams[flow])
        links.leave(s, flow)
        self._changed(component, flow)
        process.switch()
