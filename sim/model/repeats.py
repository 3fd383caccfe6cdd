"""Marks which functions of Cinder our functions repeat: what to read again when Cinder changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

# By our function, `module.name`: Cinder's functions, `module:name`, named as in the newest supported release.
REPEATS: dict[str, list[str]] = {}


def repeats(place: str, *names: str) -> Callable[[F], F]:
    """Mark a function that decides as these functions of Cinder do.

    `place` is a module of Cinder or, as `module:Class`, a class in it; `names` are functions there (or
    classes). The mark is noted in `REPEATS`, and the function itself stays unchanged. The tests compare the
    named functions with the installed release (`tests/repeated`).
    """
    dot = "." if ":" in place else ":"

    def mark(function: F) -> F:
        ours = f"{function.__module__}.{function.__qualname__}"
        REPEATS.setdefault(ours, []).extend(f"{place}{dot}{name}" for name in names)
        return function

    return mark
