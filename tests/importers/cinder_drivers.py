"""Prints what the installed Cinder's drivers are, as JSON. A program, since it imports every one of them."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import sys
from functools import cache
from pathlib import Path

import cinder.objects


def classes() -> dict[str, type]:
    """Every driver class in the tree, bases and NetApp's factory too, by path."""
    cinder.objects.register_all()
    package = importlib.import_module("cinder.volume.drivers")
    driver = importlib.import_module("cinder.volume.driver")
    found = {}
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        for one in vars(importlib.import_module(module.name)).values():
            if not inspect.isclass(one) or not issubclass(one, driver.BaseVD | driver.ProxyVD):
                continue
            if one.__module__.startswith(package.__name__):
                found[f"{one.__module__}.{one.__qualname__}"] = one
    return found


@cache
def span(one: type) -> tuple[str, int, int]:
    """The file of a class, its first and last line."""
    lines, first = inspect.getsourcelines(one)
    file = Path(inspect.getfile(one)).relative_to(Path(cinder.__file__).parents[1])
    return str(file), first, first + len(lines)


def spans(one: type) -> list[tuple[str, int, int]]:
    """Of all of Cinder's classes that `one` is made of."""
    return [span(base) for base in one.__mro__ if base.__module__.startswith("cinder.")]


def owners(one: type, functions: list[str]) -> dict[str, tuple[str, int, int]]:
    """Which class has each of these functions of `one`."""
    found = {}
    for function in functions:
        for owner in one.__mro__:
            if function in vars(owner):
                found[function] = span(owner)
                break
    return found


def main() -> None:
    found = classes()
    registered = importlib.import_module("cinder.interface.util").get_volume_drivers()
    told = {
        "registered": [one.class_fqn for one in registered],
        "bases": {
            path: [f"{b.__module__}.{b.__qualname__}" for b in one.__mro__] for path, one in found.items()
        },
        "spans": {path: spans(one) for path, one in found.items()},
        "owners": {path: owners(one, sys.argv[1:]) for path, one in found.items()},
        "options": {
            path: {opt.name: opt.default for opt in one.get_driver_options()}
            for path, one in found.items()
            if hasattr(one, "get_driver_options")
        },
    }
    print(json.dumps(told, default=str))


if __name__ == "__main__":
    main()
