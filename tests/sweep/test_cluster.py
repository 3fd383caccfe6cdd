"""Cells on a Dask cluster: who is trusted, and what is said if nobody answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import sim
from sim.cli import app
from sim.inputs.problems import BadInput
from sim.sweep.cluster import Scheduler, connected
from sim.sweep.sweep import sweep
from sim.sweep.varying import grid

SMALLEST = Path(__file__).parents[2] / "scenarios" / "smallest.yaml"


def swept(*args: object) -> Result:
    given = ["sweep", SMALLEST, "--vary", "strategy=none", *args]
    return CliRunner().invoke(app, [str(each) for each in given])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A certificate of its own authority, and its key."""
    from distributed.security import Security

    made, folder = Security.temporary(), tmp_path_factory.mktemp("tls")
    found = {"ca": made.tls_ca_file, "cert": made.tls_client_cert, "key": made.tls_client_key}
    for name, text in found.items():
        (folder / name).write_text(text)
    return {name: folder / name for name in found}


@pytest.fixture
def address(files: dict[str, Path]) -> Iterator[str]:
    """A cluster that talks only to who has that certificate."""
    from distributed import LocalCluster
    from distributed.security import Security

    ca, cert, key = (str(files[name]) for name in ("ca", "cert", "key"))
    roles = {
        f"tls_{role}_{what}": path
        for role in ("client", "worker", "scheduler")
        for what, path in (("cert", cert), ("key", key))
    }
    security = Security(require_encryption=True, tls_ca_file=ca, **roles)
    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        dashboard_address=":0",
        security=security,
        protocol="tls",
    ) as local:
        yield local.scheduler_address


def test_over_tls(address: str, files: dict[str, Path]) -> None:
    case = sim.load(SMALLEST)
    points = grid({}, ["cache-only"])
    scheduler = Scheduler(address, files["ca"], files["cert"], files["key"])
    assert address.startswith("tls://")
    (there,) = sweep(case, points, dask=scheduler)
    (here,) = sweep(case, points, workers=1)
    assert (there.error, there.rows) == ("", here.rows)


@pytest.mark.parametrize("address", ["x://y:z", "", "tcp://127.0.0.1:1"])
def test_nobody_answers(address: str) -> None:
    import dask
    import distributed  # noqa: F401  it brings its configuration

    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(BadInput, match=r"--dask: (no scheduler answers at|give an address)"),
        connected(address),
    ):
        pass


def test_files_are_checked_before_anything_runs(files: dict[str, Path], tmp_path: Path) -> None:
    for options, said in (
        (["--tls-cert", files["cert"]], "--tls-cert: only for --dask tls://HOST:PORT"),
        (
            ["--dask", "tcp://h:1", "--tls-ca-file", files["ca"]],
            "--tls-ca-file: only for --dask tls://HOST:PORT",
        ),
        (["--dask", "tls://h:1", "--tls-key", tmp_path / "no"], "is not a file"),
    ):
        result = swept(*options, "--out", tmp_path / "out")
        assert (result.exit_code, result.stdout) == (2, "")
        assert said in result.stderr
    assert not (tmp_path / "out").exists()
    (tmp_path / "bad.pem").write_text("no certificate")
    result = swept(
        "--dask", "tls://127.0.0.1:1", "--tls-ca-file", tmp_path / "bad.pem", "--out", tmp_path / "out"
    )
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)


def test_help_says_who_is_trusted() -> None:
    for command in ("sweep", "plan"):
        shown = " ".join(CliRunner().invoke(app, [command, "--help"]).output.split())
        assert "Whoever answers there is trusted" in shown
