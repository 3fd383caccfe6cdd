"""Every notebook runs from a clean kernel, without a warning, and gives what is kept in it."""

from __future__ import annotations

import itertools
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("matplotlib")

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The notebooks and what they read, elsewhere: they write figures."""
    for folder in ("notebooks", "scenarios", "lab"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")  # the kernel of this environment
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    return tmp_path


@pytest.mark.filterwarnings("ignore")  # Jupyter's own
@pytest.mark.parametrize("name", [path.name for path in NOTEBOOKS])
def test_notebook(name: str, copy: Path) -> None:
    kept = nbformat.read(ROOT / "notebooks" / name, as_version=4)
    clean = nbformat.from_dict(kept)
    first = (
        f"import sys, warnings\nassert sys.executable == {sys.executable!r}\nwarnings.simplefilter('error')"
    )
    clean.cells.insert(0, nbformat.v4.new_code_cell(first))
    where = {"metadata": {"path": str(copy / "notebooks")}}
    run = nbclient.NotebookClient(clean, timeout=600, kernel_name="python3", resources=where).execute()
    assert text_of(run.cells[1:]) == text_of(kept.cells)
    assert {path.name for path in copy.glob("docs/*")} <= {path.name for path in ROOT.glob("docs/*")}


def text_of(cells: list[Any]) -> list[str]:
    """What cells printed and showed, but for pictures; nothing on stderr."""
    found = []
    for output in (output for cell in cells for output in cell.get("outputs", [])):
        if output.output_type == "stream":
            assert output.name == "stdout", output.text
            found.append(output.text)
        else:
            found.append(output.data["text/plain"])
    return found


@pytest.mark.parametrize("name", [path.name for path in NOTEBOOKS])
def test_notebook_names_no_machine(name: str) -> None:
    text = (ROOT / "notebooks" / name).read_text(encoding="utf-8")
    assert str(ROOT) not in text
    assert "/home/" not in text and "/tmp/" not in text


@pytest.mark.parametrize("name", [path.name for path in NOTEBOOKS])
def test_words_come_before_code(name: str) -> None:
    kinds = [cell.cell_type for cell in nbformat.read(ROOT / "notebooks" / name, as_version=4).cells]
    assert kinds[0] == "markdown" and ("code", "code") not in itertools.pairwise(kinds)
