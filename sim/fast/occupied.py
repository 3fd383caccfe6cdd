"""Means and peaks of the accounts of a run, as numbers without tables."""

from __future__ import annotations

from sim.fast.jit import entry
from sim.fast.state import FIELDS, IMAGES, Array

LEVEL, AREA, PEAK = range(3)  # of an account, each in all FIELDS
SINCE = len(FIELDS)  # behind the levels of so many quantities
USED = IMAGES + 1  # kinds; those behind take no space of their own


@entry
def occupied(told: Array, noted: Array, edges: Array, end: float, places: Array, found: Array) -> None:
    """Find for each scope (pool, tier and all) the mean and the peak of each kind and quantity; then, of
    the image-volumes, the mean of each quantity from each edge to the next, and from the last to the end.

    `told` (scopes, kinds, LEVEL | AREA | PEAK, FIELDS and `since`) are the accounts at the end of the run,
    `noted` (edges, ...) those at the `edges`. Where no time passes, a mean is the level. The row `places` of
    `found` gets all this of a scope.
    """
    last, until = len(edges) - 1, max(end, edges[len(edges) - 1])
    for scope in range(len(places)):
        row, column = found[places[scope]], 0
        for kind in range(USED):
            since = told[scope, kind, LEVEL, SINCE]
            for of in range(SINCE):
                level, area = told[scope, kind, LEVEL, of], told[scope, kind, AREA, of]
                row[column] = (area + (end - since) * level) / end if end > 0 else level
                row[column + 1] = told[scope, kind, PEAK, of]
                column += 2
        since = told[scope, IMAGES, LEVEL, SINCE]
        for of in range(SINCE):
            level = told[scope, IMAGES, LEVEL, of]
            area = told[scope, IMAGES, AREA, of] + (until - since) * level
            for edge in range(len(edges)):
                length = (edges[edge + 1] if edge < last else until) - edges[edge]
                upto = noted[edge + 1, scope, IMAGES, AREA, of] if edge < last else area
                since_edge = upto - noted[edge, scope, IMAGES, AREA, of]
                row[column] = since_edge / length if length > 0 else level
                column += 1
