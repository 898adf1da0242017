"""What the command line says of what nobody foresaw, and of what names the grid."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator import sweep
from orchestrator.__main__ import main
from orchestrator.grid import LAST_SWEEP, RESULTS
from orchestrator.last_resort import SHOWN

ROOT = Path(__file__).parents[2]


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A verb in which something happens that nobody foresaw."""

    def breaks(*_: object) -> None:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweep, "run", breaks)
    monkeypatch.setattr(sys, "argv", ["orchestrator", "sweep", "grid.yaml"])


@pytest.mark.usefixtures("broken")
def test_an_error_that_nobody_foresaw_is_a_line_and_its_traceback_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main()
    line = "RuntimeError: first line; finished trials are kept; the whole traceback is in results/traceback.txt\n"
    assert (end.value.code, *capsys.readouterr()) == (2, "", line)
    lines = (RESULTS / "traceback.txt").read_text().splitlines()
    assert lines[:2] == ["orchestrator sweep grid.yaml", "Traceback (most recent call last):"]
    assert lines[-2:] == ["RuntimeError: first line", "second line"]


@pytest.mark.usefixtures("broken")
def test_its_traceback_is_told_where_no_file_can_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    Path("results").touch()
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["RuntimeError: first line", "Traceback (most recent call last):"]


@pytest.mark.usefixtures("broken")
def test_a_variable_lets_it_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SHOWN, "1")
    with pytest.raises(RuntimeError, match="first line"):
        main()


@pytest.mark.parametrize("content", [b"\xff\xfe", b"grids/a\0b.yaml", b"", b"a\nb"])
def test_a_damaged_name_of_the_last_sweep_is_told(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    LAST_SWEEP.parent.mkdir()
    LAST_SWEEP.write_bytes(content)
    monkeypatch.setattr(sys, "argv", ["orchestrator", "status"])
    with pytest.raises(SystemExit) as end:
        main()
    told = "results/last_sweep: damaged, it names no file; name a grid, e.g. grids/demo.yaml\n"
    assert (end.value.code, *capsys.readouterr()) == (2, "", told)


def test_a_difference_is_told_in_lines_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = "grids/demo.yaml"
    monkeypatch.setattr(sys, "argv", ["orchestrator", "plan", grid, "--diff", grid, "--json"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "one of --diff and --json" in " ".join(capsys.readouterr().err.replace("│", "").split())


def test_the_aggregator_tells_errors_in_the_same_way(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    asked = [sys.executable, "-m", "orchestrator.aggregate", "--grid", ROOT / "tests/micro.yaml", "--out", "out/here"]
    ended = subprocess.run(asked, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True)
    said = ended.stderr.decode()
    assert (ended.returncode, said.count("\n")) == (2, 1), said
    assert "out/here" in said
    assert said.endswith(": Not a directory; finished trials are kept, run the same command again\n")
