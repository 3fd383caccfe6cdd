"""The plugin decides as the what-if, on many drawn creates: `python -m tests.plugins.proved 1000 mariadb`.

Arguments: how many creates from images, the kind of database, and the first seed.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import sim.cinder  # noqa: F401 before the rest of Cinder
from tests.importers import servers
from tests.plugins.drawn_requests import cases
from tests.plugins.installed import importable, install, run_preferring
from tests.whole.test_against_whole import agree

USED_S = {"sqlite": 5e-3, "postgresql": 5e-3, "mariadb": 1.0}  # MariaDB keeps whole seconds
SERVERS = {"mariadb": servers.mariadb, "postgresql": servers.postgresql}


def main(requests: int, kind: str, seed: int) -> int:
    """How many creates from images were compared; raises at the first difference."""
    compared = 0
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        plugin = stack.enter_context(importable(install(folder)))
        server = stack.enter_context(SERVERS[kind]()) if kind in SERVERS else None
        for case, strategy in cases(seed, folder / "cases", whole_seconds=kind == "mariadb"):
            with _database(server) as url:
                whole = run_preferring(case, strategy, url)
            print(case.path.parent.name, strategy, len(whole.requests), flush=True)
            agree(case, strategy, whole, fast=False, used_s=USED_S[kind])
            assert not plugin.PreferClonesWeigher.failing
            compared += len(whole.requests)
            if compared >= requests:
                break
    return compared


@contextlib.contextmanager
def _database(server: servers.Server | None) -> Iterator[str | None]:
    """None: one in memory."""
    if server is None:
        yield None
        return
    with server.database() as url:
        yield url.render_as_string(hide_password=False)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    arguments = [*sys.argv[1:], *("1000", "sqlite", "0")[len(sys.argv) - 1 :]]
    print(main(int(arguments[0]), arguments[1], int(arguments[2])), "creates from images, no difference")
