"""Reports made by the commands."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from sim.cli import app

VARIED = "backends.*.image_volume_cache_max_count=1..3"
COMMANDS: dict[str, list[str]] = {
    "compare": ["--engine", "fast", "--strategies", "none,cache-only,combined"],
    "sweep": ["--vary", VARIED, "--workers", "1"],
    "plan": ["--target-hit-rate", "0.6", "--workers", "1"],
}


def report(name: str, scenario: Path, out: Path) -> Path:
    """The folder that a command has written its report into."""
    result = CliRunner().invoke(app, [name, str(scenario), *COMMANDS[name], "--out", str(out)])
    assert result.exit_code == 0, result.output
    return out
