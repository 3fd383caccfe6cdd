"""Engine `fast` without compilation: the very same source as plain Python, as one steps through it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Python in another process, which compiles nothing."""
    path = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": path},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


def test_it_says_what_engine_cinder_says(tmp_path: Path) -> None:
    process = run("-W", "error::RuntimeWarning", "-m", "fast.playing", str(tmp_path))
    assert process.returncode == 0, process.stderr
    told = json.loads(process.stdout)
    assert len(told) == 28
    assert {name: text for name, text in told.items() if text is not None} == {}


def test_a_breakpoint_stops_in_it() -> None:
    """Where a create is scheduled the debugger stops, and shows the request as a record with names."""
    source = ROOT / "sim" / "fast" / "create.py"
    lines = source.read_text(encoding="utf-8").splitlines()
    first = lines.index("def schedule(s: State, v: int) -> bool:")
    commands = (
        f"break {source}:{first + 3}",
        "continue",
        "next",
        "p r.size_gib",
        "p r",
        "up 2",
        "p s.world[0]",
    )
    argv = ("run", "docs/smallest.yaml", "--strategy", "none", "--engine", "fast")
    process = run("-m", "pdb", "-m", "sim", *argv, stdin="\n".join((*commands, "quit", "")))
    assert f"> {source}({first + 3})schedule()" in process.stdout
    assert "-> o = s.options[0]" in process.stdout  # the next line
    assert "code=0, row=0, image=" in process.stdout
    assert "kernel.py" in process.stdout and "[0] now=" in process.stdout
