"""Threads of the cinder-volume services: a message waits until its service has one (sim/cinder/rpc.py).

Here and in sim/fast/clone_turns.py what acts only where a limit is set is a function of its own: the rest is
so short that the compiler puts it into its callers, and what no scenario asks for costs no call.
"""

from __future__ import annotations

from typing import Any

from sim.fast.events import cast
from sim.fast.jit import compiled
from sim.fast.state import NO_LIMIT, NONE, State

GRANTED = 1  # in the place of an event's pool: its message has a thread


@compiled
def take_thread(s: State, pool: int, node: int, what: int, who: int) -> bool:
    """Take a thread of a backend's service on a node, or queue: the event comes when there is one."""
    t = s.threads[s.pools[pool].backend, node]
    if not s.options[0].threads or t.limit == NO_LIMIT:
        return True
    return take_or_queue(s, t, what, who)


@compiled
def take_or_queue(s: State, t: Any, what: int, who: int) -> bool:
    """Take a thread of a service that has a limit, a record of `THREADS`, or queue."""
    if t.in_use == 0:
        t.first = NONE
    if t.in_use < t.limit:
        t.in_use += 1
        return True
    w = s.world[0]
    number = w.free_message
    if number == NONE:
        number = w.used_messages
        w.used_messages += 1
    else:
        w.free_message = s.messages[number].next
    m = s.messages[number]
    m.what, m.who, m.next = what, who, NONE
    if t.first == NONE:
        t.first = number
    else:
        s.messages[t.last].next = number
    t.last = number
    return False


@compiled
def give_thread(s: State, pool: int, node: int) -> None:
    """A message is handled: its thread goes to the one that waits longest."""
    t = s.threads[s.pools[pool].backend, node]
    if s.options[0].threads and t.limit != NO_LIMIT:
        hand_on(s, t)


@compiled
def hand_on(s: State, t: Any) -> None:
    """Hand a thread on."""
    number = t.first
    if number == NONE:
        t.in_use -= 1
        return
    m, w = s.messages[number], s.world[0]
    t.first = m.next
    m.next = w.free_message
    w.free_message = number
    cast(s, m.what, m.who, GRANTED)
