"""The search for actions: every lever alone, the best taken, the others tried again beside it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sim.planner.advise_levers import PATCH, Lever
from sim.planner.advise_trials import Action, Outcome, State, Trials

MOST = 7  # actions
NEARLY = 0.9  # of the best saving, which less of a lever may bring

Levers = Callable[[State], Sequence[Lever]]
Tried = tuple[Action, Outcome]


@dataclass(frozen=True)
class Found:
    """The actions in order; every lever tried alone on today with its best outcome, and the others beside the
    actions."""

    actions: list[Action]
    alone: list[Tried]
    beside: list[Tried]


def search(trials: Trials, levers: Levers) -> Found:
    """The best actions, one after the other, while one more is worth it.

    Patches to Cinder come last: the others must not depend on them. If no lever alone is worth it, every two
    together are tried.
    """
    state = trials.today
    alone = best_of_each(trials, state, levers(state))
    actions: list[Action] = []
    for patches in (False, True):
        while len(actions) < MOST:
            taken = {action.lever.name for action in actions}

            def left(at: State, patches: bool = patches, taken: set[str] = taken) -> list[Lever]:
                every = levers(at)
                return [o for o in every if o.name not in taken and (o.effort == PATCH) == patches]

            new = _next(trials, state, left, MOST - len(actions))
            if not new:
                break
            actions += new
            state = state_of(trials, actions)
    actions = _needed(trials, _tuned(trials, actions, levers))
    state, taken = state_of(trials, actions), {action.lever.name for action in actions}
    others = [each for each in levers(state) if each.name not in taken]
    return Found(actions, alone, best_of_each(trials, state, others))


def state_of(trials: Trials, actions: Sequence[Action]) -> State:
    """Today with the actions."""
    state = trials.today
    for action in actions:
        state = trials.after(state, action.option)
    return state


def _next(trials: Trials, state: State, left: Levers, room: int) -> list[Action]:
    """The best lever, else the best two, that are worth it; else none."""
    (now,) = trials([state])
    assert now is not None
    tried = best_of_each(trials, state, left(state))
    good = [each for each in tried if trials.worth_it(each[1], now, len(tried))]
    if good:
        return [min(good, key=lambda each: each[1].rank)[0]]
    if room < 2:
        return []
    pairs = []
    tried.sort(key=lambda each: each[0].option.one_pool)  # after it, backends have other names
    for (one, _), (two, _) in itertools.combinations(tried, 2):
        first = trials.after(state, one.option)
        if two.lever.name in {lever.name for lever in left(first)}:
            pairs.append(([one, two], trials.after(first, two.option)))
    outcomes = trials([pair for _, pair in pairs])
    both = [
        (actions, outcome)
        for (actions, _), outcome in zip(pairs, outcomes, strict=True)
        if outcome is not None and trials.worth_it(outcome, now, len(pairs))
    ]
    return min(both, key=lambda each: each[1].rank)[0] if both else []


def best_of_each(trials: Trials, state: State, levers: Sequence[Lever]) -> list[Tried]:
    """Each lever at its best option. Of options that bring nearly as much, the least is best."""
    options = [Action(lever, option) for lever in levers for option in lever.options]
    now, *outcomes = trials([state, *(trials.after(state, each.option) for each in options)])
    assert now is not None
    found = []
    for lever in levers:
        tried = [
            (action, outcome)
            for action, outcome in zip(options, outcomes, strict=True)
            if action.lever is lever and outcome is not None
        ]
        if not tried:
            continue
        best = min(tried, key=lambda each: each[1].rank)
        if lever.least and best[1].rank < now.rank:
            best = next(each for each in tried if _nearly(each[1], best[1], now))
        found.append(best)
    return found


def _nearly(one: Outcome, best: Outcome, now: Outcome) -> bool:
    """Whether an outcome brings nearly as much as the best."""
    if round(best.short, 9) != round(now.short, 9):
        return one.short <= now.short - NEARLY * (now.short - best.short)
    saved = now.cost - best.cost
    return one.rank[0] <= best.rank[0] and now.cost - one.cost >= NEARLY * saved


def _tuned(trials: Trials, actions: list[Action], levers: Levers) -> list[Action]:
    """The actions with the limits that are best beside all others; they may have been taken first."""
    at = next((number for number, each in enumerate(actions) if each.lever.name == "limits"), None)
    if at is None or at == len(actions) - 1:
        return actions
    before = state_of(trials, actions[:at])
    variants = [
        [*actions[:at], Action(lever, option), *actions[at + 1 :]]
        for lever in levers(before)
        if lever.name == "limits"
        for option in lever.options
    ]
    outcomes = trials([state_of(trials, each) for each in [actions, *variants]])
    ranked = [(outcome.rank, number) for number, outcome in enumerate(outcomes) if outcome is not None]
    best = min(ranked)[1]
    return [actions, *variants][best]


def _needed(trials: Trials, actions: list[Action]) -> list[Action]:
    """The actions without those that are not worth it beside all others."""
    for number in range(len(actions) - 1, -1, -1):
        others = [*actions[:number], *actions[number + 1 :]]
        of_backends = any(
            key.startswith("backends.") for each in actions[number + 1 :] for key in each.option.values
        )
        if actions[number].option.one_pool and of_backends:
            continue  # later values are those of the one pool
        without, whole = trials([state_of(trials, others), state_of(trials, actions)])
        if without is not None and whole is not None and not trials.worth_it(whole, without):
            return _needed(trials, others)
    return actions
