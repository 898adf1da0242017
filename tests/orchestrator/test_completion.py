"""`completion`: real shells read what it prints, and complete."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator import completion
from orchestrator.grid import LAST_SWEEP

ROOT = Path(__file__).parents[2]
PRETEXT, JUDGING = "3f2a00112233aabb", "3f2b00112233aabb"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with two grids, of which the first was swept: two of its trials have folders."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("micro", "other"):
        (tmp_path / f"grids/{name}.yaml").parent.mkdir(exist_ok=True)
        text = (ROOT / "tests/micro.yaml").read_text()
        (tmp_path / f"grids/{name}.yaml").write_text(text.replace("runtime: {", f"runtime: {{storage: {name}, "))
    for address in (f"pretext/{PRETEXT}", f"judging/{JUDGING}", "judging/.gone"):
        (tmp_path / "micro" / address).mkdir(parents=True)
    LAST_SWEEP.parent.mkdir()
    LAST_SWEEP.write_text("grids/micro.yaml\n")
    return tmp_path


def bash(script: str) -> str:
    """What it prints after the completion is read. Whatever goes wrong is an error."""
    read = f"set -eu; source <({sys.executable} -m orchestrator completion bash)\n"
    ended = subprocess.run(["bash", "--norc", "-c", read + script], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def completed(*words: str) -> list[str]:
    """What bash offers for the last of the words."""
    quoted = " ".join(f"'{word}'" for word in words)
    given = f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; registered=($(complete -p orchestrator))\n"
    return bash(given + '${registered[4]} orchestrator; printf "%s\\n" "${COMPREPLY[@]}"').split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("st",), ["status"]),
        (("re",), ["rehearse", "retry", "restore"]),
        (("status", "--w"), ["--watch"]),
        (("plan", ""), ["grids/micro.yaml", "grids/other.yaml"]),
        (("logs", "--grid", "grids/o"), ["grids/other.yaml"]),
        (("logs", "3f"), [PRETEXT, JUDGING]),
        (("retry", PRETEXT, "3f2b"), [JUDGING]),
        (("logs", "--grid", "grids/other.yaml", "3f"), []),
        (("completion", ""), ["bash", "zsh"]),
    ],
)
def test_bash_completes_verbs_options_grids_and_keys(words: tuple[str, ...], offered: list[str], folder: Path) -> None:
    assert completed("orchestrator", *words) == offered


def test_the_short_name_runs_the_verbs(folder: Path) -> None:
    assert bash("orchestrator plan grids/micro.yaml | head -n 1").startswith("micro: ")


def test_where_nothing_ran_and_no_grid_is_the_shell_is_offered_nothing(folder: Path) -> None:
    shutil.rmtree(folder / "grids")
    assert completed("orchestrator", "logs", "") == completed("orchestrator", "plan", "") == []
    LAST_SWEEP.unlink()
    assert completed("orchestrator", "logs", "") == []


@pytest.mark.skipif(not shutil.which("zsh"), reason="needs zsh on the PATH")
def test_zsh_completes_too(folder: Path) -> None:
    """The completing function gives `_arguments` what to offer."""
    script = f"""
    compdef() {{ }}; _arguments() {{ print -r -- "$@" }}
    source =({sys.executable} -m orchestrator completion zsh)
    words=(orchestrator logs 3f); CURRENT=3; _orchestrator_completion"""
    ended = subprocess.run(["zsh", "-fc", script], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["*:", f':(("{PRETEXT}":"pretext"', f'"{JUDGING}":"judging"))']


def test_a_shell_does_not_wait_for_what_only_verbs_need() -> None:
    program = "import sys, orchestrator.__main__; print(sorted({'pydantic', 'yaml', 'pyarrow'} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def test_a_python_below_a_folder_with_a_space_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/a b/python")
    for shell in completion.Shell:
        assert completion.script(shell).count("'/a b/python' -m orchestrator") == 2
