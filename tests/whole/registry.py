"""Where named scenarios are registered.

`CASES` maps a name to what builds the case in a folder, `STRATEGIES` to the strategies to run.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sim.inputs.scenario import Case

from .build import Builder, image

CACHE_ONLY = ("cache-only",)
ALL = ("none", "store-only", "cache-only", "combined")
CASES: dict[str, Callable[[Path], Case]] = {}
STRATEGIES: dict[str, tuple[str, ...]] = {}


def scenario(
    *strategies: str, **variants: tuple[Any, ...]
) -> Callable[[Callable[..., Builder]], Callable[..., Builder]]:
    """Register a builder under its name; `key=(v1, v2)`: a case for each value of its arguments."""

    def register(build: Callable[..., Builder]) -> Callable[..., Builder]:
        for values in itertools.product(*variants.values()):
            name = "-".join((build.__name__, *map(str, values)))
            CASES[name] = partial(_case, build, dict(zip(variants, values, strict=True)))
            STRATEGIES[name] = strategies or CACHE_ONLY
        return build

    return register


def richest(name: str) -> str:
    """The strategy of a case that does the most in it: the cache and the store together, if it has both."""
    return "combined" if "combined" in STRATEGIES[name] else STRATEGIES[name][-1]


def _case(build: Callable[..., Builder], given: dict[str, Any], folder: Path) -> Case:
    return build(**given).case(folder)


def small(count: int = 4) -> list[dict[str, Any]]:
    return [image(f"i{number}") for number in range(count)]
