"""What `--cinder` takes, and what is wrong with the rest."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sim.cli.commands import app
from sim.inputs.cinders import INSTALLED, SUPPORTED, cinders_of
from sim.run import ENGINES

SMALLEST = "scenarios/smallest.yaml"


def cli(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def checkout(folder: Path, version: str | None = None) -> Path:
    """A folder that looks like a checkout of Cinder."""
    (folder / "cinder").mkdir(parents=True)
    (folder / "cinder" / "__init__.py").touch()
    (folder / "setup.cfg").write_text("[metadata]\nname = cinder\n")
    if version is not None:
        (folder / "PKG-INFO").write_text(f"Metadata-Version: 2.1\nName: cinder\nVersion: {version}\n")
    return folder


def test_a_series_is_its_last_release() -> None:
    found, problems = cinders_of("24, 26.1.0 ,29,installed,24.5.0")
    assert problems == []
    assert [one.name for one in found] == ["24.5.0", "26.1.0", "29.0.0", "installed"]
    assert found[-1] == INSTALLED


@pytest.mark.parametrize(
    ("version", "release"),
    [
        ("29.0.1.dev13", "29.0.0"),
        ("26.1.0", "26.1.0"),
        ("26.2.1-5-gabc", "26.2.0"),
        ("31.0.0", SUPPORTED[-1]),
        ("9", SUPPORTED[-1]),
        ("", SUPPORTED[-1]),
        (None, SUPPORTED[-1]),
    ],
)
def test_a_checkout_runs_beside_the_packages_of_the_release_before_it(
    tmp_path: Path, version: str | None, release: str
) -> None:
    path = checkout(tmp_path / "my cinder\n", version)
    (found,), problems = cinders_of(f"{path}/")
    assert problems == []
    assert (found.name, found.release, found.checkout) == ("my-cinder-", release, path.resolve())


def test_two_checkouts_of_one_name_get_numbers(tmp_path: Path) -> None:
    paths = [checkout(tmp_path / each / "cinder") for each in "ab"]
    found, problems = cinders_of(",".join(map(str, paths)))
    assert problems == []
    assert [one.name for one in found] == ["cinder", "cinder-2"]
    assert [one.checkout for one in found] == paths


@pytest.mark.parametrize(
    "text", ["", "30", "24.9.9", "23", "x", "-", "x,y", "./none", "/dev/null", "\x1b[31m", "a/\0"]
)
def test_every_bad_name_is_a_problem(text: str) -> None:
    done = cli("compare", SMALLEST, "--cinder", f"29,{text}")
    assert done.exit_code == 2
    assert done.stderr.count("--cinder: ") == 1 + text.count(",")
    assert "Traceback" not in done.output and "\x1b" not in done.stderr


def test_a_sweep_tells_bad_names_with_its_other_problems() -> None:
    done = cli("sweep", SMALLEST, "--vary", "seed=1", "--workers", 0, "--cinder", "29,30,./none")
    assert done.exit_code == 2
    assert done.stderr.count("--cinder: ") == 2 and "--workers: " in done.stderr


def test_a_sweep_with_cinders_has_no_other_column_cinder(tmp_path: Path) -> None:
    (tmp_path / "cells.csv").write_text("cinder\n{scheduler_max_attempts: 2}\n")
    asked = ("sweep", SMALLEST, "--list", tmp_path / "cells.csv", "--out", tmp_path / "out")
    done = cli(*asked, "--cinder", "installed")
    assert done.exit_code == 2 and "--cinder: the varied key cinder would have" in done.stderr


def test_only_engine_cinder_runs_another_cinder() -> None:
    done = cli("run", SMALLEST, "--strategy", "none", "--engine", ENGINES[1], "--cinder", "26,27,99")
    assert done.exit_code == 2
    assert "--cinder: only engine cinder" in done.stderr and "'99'" in done.stderr
