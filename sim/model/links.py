"""Shared rates: the links that transfers cross, and how a link divides its rate.

A stream of the route r gets min(its own rate, share of r). On one link the share is total / k for k streams
under way: egalitarian processor sharing. Across several links the shares are max-min fair, found by
progressive filling (Bertsekas and Gallager, Data Networks, 2nd edition, 6.5.2): all shares grow together
until a link is full, whose streams then keep what they have. A share does not depend on the streams' own
rates: what a stream with a low rate of its own does not take stays unused.

Streams of one route with one rate of their own are a `Flow`: they all go equally fast at any time. So a flow
counts what each of its streams has moved (the attained service, or virtual time, of the theory). A stream
that begins is over when the flow has moved that many MiB more. Nothing is done per stream while others begin
and end. An event costs O(F + R L) for the F flows and R routes of one component, of which L links fill one
after the other, and O(log n) for a heap of the n streams of a flow. Components share no link.

The functions are those of both engines: engine `cinder` calls them, engine `fast` compiles them. Their `s`
has the lists `links`, `routes`, `components` and `flows`. Rates are MiB/s, times seconds, NONE is no number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sim.inputs.scenario import Scenario

NONE = -1
KINDS = GLANCE, NODE, ARRAY = ("glance", "node", "array")


@dataclass(eq=False, slots=True)
class Link:
    """A link of `total_mib_s`. What `divide` has yet to give: `free_mib_s`, to `streams`.

    So far `transfers` of `asked_mib` in all have begun to cross it, and `carried_mib` is what it has carried:
    the rates of all streams over time.
    """

    total_mib_s: float
    free_mib_s: float = 0.0
    streams: int = 0
    transfers: int = 0
    asked_mib: float = 0.0
    carried_mib: float = 0.0


@dataclass(eq=False, slots=True)
class Route:
    """One or two links that a stream crosses, the streams on it, and what each of them may get."""

    first: int
    second: int
    component: int
    streams: int = 0
    share_mib_s: float = 0.0
    filling: bool = False


@dataclass(eq=False, slots=True)
class Component:
    """Routes that share links: `routes` of them from `first_route` on, and a list of their flows under way.

    `since` is the time up to which the flows are counted. `due` is when a stream of `due_flow` will be the
    next to end, and `looks_at` the time of the event that looks for it, which may be too early.
    """

    first_route: int
    routes: int
    first_flow: int = NONE
    since: float = 0.0
    due: float = math.inf
    due_flow: int = NONE
    looks_at: float = math.inf


@dataclass(eq=False, slots=True)
class Flow:
    """Streams of a route that have the same rate of their own.

    `moved_mib` is what a stream would have moved since the flow began. The first stream ends when it is
    `first_end_mib`.
    """

    route: int = NONE
    own_mib_s: float = 0.0
    streams: int = 0
    moved_mib: float = 0.0
    first_end_mib: float = 0.0
    next: int = NONE


@dataclass(eq=False)
class Links:
    """The shared links of a scenario, and which route a transfer takes (NONE: it crosses none of them).

    `of_glance` is the route of transfers between Glance and a place without a limit of its own, `of_node` by
    node, `of_array` that of writes and full copies by backend. `names` says of each link what it is (one of
    KINDS) and of which node or backend.
    """

    links: list[Link] = field(default_factory=list)
    names: list[tuple[str, str]] = field(default_factory=list)
    routes: list[Route] = field(default_factory=list)
    components: list[Component] = field(default_factory=list)
    flows: list[Flow] = field(default_factory=list)
    of_glance: int = NONE
    of_node: dict[str, int] = field(default_factory=dict)
    of_array: dict[str, int] = field(default_factory=dict)

    def route(self, *links: int) -> int:
        """A new route, the next one of the last component."""
        component = len(self.components) - 1
        self.routes.append(Route(links[0], links[1] if len(links) > 1 else NONE, component))
        self.components[component].routes += 1
        return len(self.routes) - 1

    def link(self, total_mib_s: float, kind: str, name: str) -> int:
        """A new link."""
        self.links.append(Link(total_mib_s))
        self.names.append((kind, name))
        return len(self.links) - 1

    def begin(self) -> None:
        """Begin a new component."""
        self.components.append(Component(len(self.routes), 0))


def links_of(scenario: Scenario) -> Links:
    """The shared links of a scenario.

    A transfer between Glance and a node crosses Glance's link and the node's. What a node writes, and what an
    array copies, crosses the array's.
    """
    found = Links()
    limits = {name: node.total_mib_s for name, node in scenario.nodes.items() if node.total_mib_s is not None}
    total = scenario.glance.total_mib_s
    if total is not None:
        found.begin()
        glance = found.link(total, GLANCE, "")
        found.of_glance = found.route(glance)
        found.of_node = {
            name: found.route(glance, found.link(limit, NODE, name)) for name, limit in limits.items()
        }
    else:
        found.of_node = dict(_alone(found, NODE, limits.items()))
    arrays = ((name, backend.array_mib_s) for name, backend in scenario.backends.items())
    found.of_array = dict(_alone(found, ARRAY, arrays))
    return found


def _alone(found: Links, kind: str, limits: Iterable[tuple[str, float | None]]) -> Iterable[tuple[str, int]]:
    """Routes over a link each, which nothing else crosses."""
    for name, limit in limits:
        if limit is not None:
            found.begin()
            yield name, found.route(found.link(limit, kind, name))


# -- the state of links, for both engines ----------------------------------------------------------------


def advance(s: Any, component: int, now: float) -> None:
    """Count what the streams have moved until now, before anything changes."""
    p = s.components[component]
    each = p.first_flow
    while each != NONE:
        f = s.flows[each]
        r = s.routes[f.route]
        moved_mib = min(f.own_mib_s, r.share_mib_s) * (now - p.since)
        f.moved_mib += moved_mib
        for link in (r.first, r.second):
            if link != NONE:
                s.links[link].carried_mib += f.streams * moved_mib
        each = f.next
    p.since = now


def join(s: Any, route: int, mib: float, own_mib_s: float) -> int:
    """Count a stream that begins; return its flow, which is new if no stream like it is under way."""
    for link in (s.routes[route].first, s.routes[route].second):
        if link != NONE:
            s.links[link].transfers += 1
            s.links[link].asked_mib += mib
    p = s.components[s.routes[route].component]
    found: int = p.first_flow
    while found != NONE and (s.flows[found].route != route or s.flows[found].own_mib_s != own_mib_s):
        found = s.flows[found].next
    if found == NONE:
        found = 0
        while s.flows[found].streams > 0:
            found += 1
        f = s.flows[found]
        f.route, f.own_mib_s, f.moved_mib = route, own_mib_s, 0.0
        f.next = p.first_flow
        p.first_flow = found
    s.flows[found].streams += 1
    s.routes[route].streams += 1
    return found


def leave(s: Any, flow: int) -> None:
    """Count a stream of a flow that has ended; the last one ends the flow."""
    f = s.flows[flow]
    route = s.routes[f.route]
    route.streams -= 1
    f.streams -= 1
    if f.streams > 0:
        return
    p = s.components[route.component]
    if p.first_flow == flow:
        p.first_flow = f.next
        return
    before = p.first_flow
    while s.flows[before].next != flow:
        before = s.flows[before].next
    s.flows[before].next = f.next


def divide(s: Any, component: int) -> None:
    """Divide the links of a component among the streams under way: max-min fair, by progressive filling."""
    p = s.components[component]
    last = p.first_route + p.routes
    for number in range(p.first_route, last):
        r = s.routes[number]
        for link in (r.first, r.second):
            if link != NONE:
                s.links[link].free_mib_s, s.links[link].streams = s.links[link].total_mib_s, 0
    filling = 0
    for number in range(p.first_route, last):
        r = s.routes[number]
        r.filling = r.streams > 0
        filling += r.filling
        for link in (r.first, r.second):
            if link != NONE:
                s.links[link].streams += r.streams
    while filling > 0:
        level = math.inf
        for number in range(p.first_route, last):
            r = s.routes[number]
            if r.filling:
                r.share_mib_s = s.links[r.first].free_mib_s / s.links[r.first].streams
                if r.second != NONE:
                    other = s.links[r.second].free_mib_s / s.links[r.second].streams
                    r.share_mib_s = min(r.share_mib_s, other)
                level = min(level, r.share_mib_s)
        for number in range(p.first_route, last):
            r = s.routes[number]
            if r.filling and r.share_mib_s == level:
                r.filling = False
                filling -= 1
                for link in (r.first, r.second):
                    if link != NONE:
                        s.links[link].free_mib_s -= r.streams * level
                        s.links[link].streams -= r.streams


def plan(s: Any, component: int) -> None:
    """Note which stream of a component ends first, and when, if none begins before."""
    p = s.components[component]
    p.due, p.due_flow = math.inf, NONE
    each = p.first_flow
    while each != NONE:
        f = s.flows[each]
        rate = min(f.own_mib_s, s.routes[f.route].share_mib_s)
        end = p.since + (f.first_end_mib - f.moved_mib) / rate
        if end < p.due:
            p.due, p.due_flow = end, each
        each = f.next
