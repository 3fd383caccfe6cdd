"""Which functions of Cinder a function of ours repeats: what to read again when Cinder's change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

# By our function, `module.name`: those of Cinder, `module:name`, named as in the newest supported release.
REPEATS: dict[str, list[str]] = {}


def repeats(place: str, *names: str) -> Callable[[F], F]:
    """Mark a function that decides as these functions of Cinder do.

    `place` is a module of Cinder or, as `module:Class`, a class in it; `names` are functions there (or
    classes). The mark is noted in `REPEATS`, and the function is left as it is. The tests compare what is
    named with the release that is installed (`tests/repeated`).
    """
    dot = "." if ":" in place else ":"

    def mark(function: F) -> F:
        ours = f"{function.__module__}.{function.__qualname__}"
        REPEATS.setdefault(ours, []).extend(f"{place}{dot}{name}" for name in names)
        return function

    return mark
