"""What a shell shows of the command: its help, whose examples work, and completion."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from sim.cli import app
from sim.cli.ending import ORDER

ROOT = Path(__file__).parents[1]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
# These need the history of a cloud, or results: other tests run them, this one parses their options.
PARSED = ("calibrate", "import", "advise", "watch", "verdict", "report")


def help_of(command: str) -> str:
    return CliRunner().invoke(app, [command, "--help"], terminal_width=80).output


def example(command: str) -> list[str]:
    """The arguments of the example in a command's help."""
    lines = iter(help_of(command).splitlines())
    line = next(line for line in lines if line.strip().startswith("cinder-cache "))
    while line.endswith("\\"):
        line = line.removesuffix("\\") + next(lines)
    program, named, *arguments = shlex.split(line)
    assert (program, named) == ("cinder-cache", command)
    return arguments


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_that_works(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = example(command)
    (tmp_path / "scenarios").symlink_to(ROOT / "scenarios")
    (tmp_path / "mycloud").mkdir()
    monkeypatch.chdir(tmp_path)
    of = COMMANDS[command]
    if command in PARSED:
        of.make_context(command, arguments)
        return
    result = CliRunner().invoke(app, [command, *arguments])
    assert (result.exit_code, "Traceback" in result.output) == (0, False), result.output


def test_every_command_has_its_place_in_the_help() -> None:
    assert set(ORDER) == set(COMMANDS)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_right_at_80_columns(command: str) -> None:
    shown = CliRunner().invoke(app, [*command.split(), "--help"], terminal_width=80).output
    assert max(map(len, shown.splitlines())) <= 80
    assert "..." not in shown.replace("[ARGS]...", "").replace("A,B,...", "")


def completed(typed: str, folder: Path) -> list[str]:
    """What bash offers for a line that is typed so far, with the script that the command gives it."""
    command = folder / "cinder-cache"
    command.write_text(
        f"#!/bin/sh\ncd {shlex.quote(str(ROOT))} && exec {shlex.quote(sys.executable)}"
        " -c 'from sim.cli import main; main()' \"$@\"\n"
    )
    command.chmod(0o755)
    # The command looks at the shell that it was started from; who started the tests may have ended.
    asked = f"{shlex.quote(str(command))} --show-completion; exit $?"
    script = subprocess.run(["bash", "-c", asked], check=True, capture_output=True, text=True).stdout
    words = typed.split(" ")
    ask = f"""
        {script}
        COMP_WORDS=({" ".join(map(shlex.quote, words))}); COMP_CWORD={len(words) - 1}
        _cinder_cache_completion {shlex.quote(str(command))}
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    return subprocess.run(["bash", "-c", ask], check=True, capture_output=True, text=True).stdout.splitlines()


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("cinder-cache cal", ["calibrate"]),
        ("cinder-cache compare x --eng", ["--engine"]),
        ("cinder-cache compare x --engine f", ["fast"]),
        ("cinder-cache run x --strategy c", ["cache-only", "combined"]),
        ("cinder-cache compare x --strategies a", ["all"]),
        ("cinder-cache verify x --strategies cache-only,c", ["cache-only,combined"]),
        ("cinder-cache sweep x --sampling l", ["latin"]),
    ],
)
def test_bash_completes(typed: str, offered: list[str], tmp_path: Path) -> None:
    assert sorted(completed(typed, tmp_path)) == offered


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_offered_the_same(shell: str) -> None:
    """What Typer's script for the shell asks the command while somebody types."""
    asked = {"_CINDER_CACHE_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": "cinder-cache cal"}
    asked |= {"_TYPER_COMPLETE_FISH_ACTION": "get-args"} if shell == "fish" else {}
    offered = subprocess.run(
        [sys.executable, "-c", "from sim.cli import main; main()"],
        check=True, capture_output=True, text=True, cwd=ROOT, env=os.environ | asked,
    ).stdout  # fmt: skip
    assert "calibrate" in offered and "compare" not in offered
