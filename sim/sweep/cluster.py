"""A Dask cluster, whose workers run the cells of a sweep."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sim.inputs.problems import BadInput, printable

if TYPE_CHECKING:
    from distributed import Client


@dataclass(frozen=True)
class Scheduler:
    """The address of a scheduler, and the files of `distributed.security.Security` for an address `tls://`.

    Whoever answers there is trusted: it sees the scenario, and may run any code in this process. With
    `tls_ca_file`, it must have a certificate of that authority; `tls_cert` and `tls_key` are this client's.
    """

    address: str
    tls_ca_file: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None


@contextmanager
def connected(to: Scheduler | str) -> Iterator[Client]:
    """A client of a scheduler, for joblib's backend `dask`. Raises BadInput if none answers."""
    scheduler = Scheduler(to) if isinstance(to, str) else to
    try:
        from distributed import Client
        from distributed.security import Security
    except ImportError:
        raise BadInput(["--dask: needs pip install 'cinder-cache-planner[dask]'"]) from None
    files = {
        "tls_ca_file": scheduler.tls_ca_file,
        "tls_client_cert": scheduler.tls_cert,
        "tls_client_key": scheduler.tls_key,
    }
    given = {name: str(path) for name, path in files.items() if path is not None}
    if not scheduler.address:  # distributed would start a cluster here
        raise BadInput(["--dask: give an address"])
    try:
        security = Security(require_encryption=True, **given) if given else None
        client = Client(scheduler.address, security=security)
    except Exception as error:  # distributed checks an address in many places, each in its own way
        what = f"no scheduler answers at {printable(scheduler.address)}: {error or type(error).__name__}"
        raise BadInput([f"--dask: {what}"]) from None
    with client:
        yield client
