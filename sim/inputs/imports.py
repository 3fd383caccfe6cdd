"""Imports that are kept short: what others look for and nothing here needs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast


@contextmanager
def hidden(name: str) -> Iterator[None]:
    """Let an optional module not be found while others are imported, unless it is there already."""
    modules = cast(dict[str, Any], sys.modules)
    if name in modules:
        yield
        return
    modules[name] = None  # its import fails
    try:
        yield
    finally:
        del modules[name]
