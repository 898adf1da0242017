"""`python -m workers`: the bytes of the store without Ray, and one clear line for whoever gave the wrong folder."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workers.__main__ import main

ROOT = Path(__file__).parents[2]
ONE_OF_EACH_KIND = ("pretext", "fr_iqa", "warm-up", "restoration", "psnr", "nr", "benchmark")

Refused = Callable[..., str]


def arguments(micro: Any, name: str, out: Path, **replaced: Path) -> list[str]:
    """The command line that runs a stored trial again; `replaced` gives other folders for some roles."""
    inputs = {**micro.inputs(micro.trial(name)), **replaced}
    given = [text for role, folder in inputs.items() for text in ("--input", f"{role}={folder}")]
    return [str(micro.folder(name) / "spec.json"), str(out), *given]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """arguments -> the one line that they are refused with."""

    def run(given: list[str]) -> str:
        assert main(given) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.count("\n") == 1
        return said.err.strip()

    return run


@pytest.mark.parametrize("name", ONE_OF_EACH_KIND)
def test_gives_the_bytes_of_the_store(name: str, micro: Any, files_of: Any, tmp_path: Path) -> None:
    assert main(arguments(micro, name, tmp_path / "out")) == 0
    assert files_of(tmp_path / "out") == files_of(micro.folder(name))
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert (record["status"], record["numbers"]) == ("done", micro.record(name)["numbers"])
    assert (tmp_path / "out" / "spec.json").read_bytes() == (micro.folder(name) / "spec.json").read_bytes()
    assert not (tmp_path / "out" / "checkpoint").exists()


def test_a_process_of_its_own_with_four_inputs_gives_them_too(micro: Any, files_of: Any, tmp_path: Path) -> None:
    given = arguments(micro, "gan", tmp_path / "out")
    assert given.count("--input") == 4
    command = [sys.executable, "-W", "error", "-m", "workers", *given]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("done in ")
    assert files_of(tmp_path / "out") == files_of(micro.folder("gan"))


def test_needs_neither_ray_nor_mlflow_nor_pydantic(micro: Any, files_of: Any, tmp_path: Path) -> None:
    program = """
import sys
from workers.__main__ import main
assert main(sys.argv[1:]) == 0
print(sorted({"ray", "mlflow", "pydantic", "orchestrator.grid", "orchestrator.store"} & set(sys.modules)))
"""
    command = [sys.executable, "-c", program, *arguments(micro, "piqe", tmp_path / "out")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "[]"
    assert files_of(tmp_path / "out") == files_of(micro.folder("piqe"))


def test_an_output_folder_is_a_parent_for_the_next_trial(micro: Any, files_of: Any, tmp_path: Path) -> None:
    assert main(arguments(micro, "restoration", tmp_path / "images")) == 0
    assert main(arguments(micro, "psnr", tmp_path / "scores", restoration=tmp_path / "images")) == 0
    assert files_of(tmp_path / "scores") == files_of(micro.folder("psnr"))


# ------------------------------------------------------------------------------------------------ refusals


def test_a_missing_role_is_named(micro: Any, refused: Refused, tmp_path: Path) -> None:
    given = arguments(micro, "gan", tmp_path / "out")
    cut = given.index("--input")
    line = refused(given[:cut] + given[cut + 2 :])
    assert "--input: missing start; it takes start=FOLDER of super_resolution " in line
    assert all(f" {role}=FOLDER of " in line for role in ("loss", "reference_loss", "discriminator.weights"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("extra", ["los=/tmp", "/tmp"])
def test_an_unknown_role_is_named(extra: str, micro: Any, refused: Refused, tmp_path: Path) -> None:
    line = refused([*arguments(micro, "psnr", tmp_path / "out"), "--input", extra])
    role = extra.partition("=")[0]
    assert f"--input: not of this trial: {role}; it takes restoration=FOLDER of restoration " in line


def test_a_folder_that_is_not_there(micro: Any, refused: Refused, tmp_path: Path) -> None:
    line = refused(arguments(micro, "psnr", tmp_path / "out", restoration=tmp_path / "nothing"))
    wanted = micro.inputs(micro.trial("psnr"))["restoration"]
    assert (
        f"--input restoration: {tmp_path / 'nothing'} is not a folder; give that of restoration {wanted.name}" in line
    )


def test_a_folder_without_a_finished_trial(micro: Any, refused: Refused, tmp_path: Path) -> None:
    shutil.copy(micro.folder("restoration") / "spec.json", tmp_path)
    line = refused(arguments(micro, "psnr", tmp_path / "out", restoration=tmp_path))
    assert f"{tmp_path} holds no finished trial; give the folder of restoration " in line


def test_the_folder_of_another_trial(micro: Any, refused: Refused, tmp_path: Path) -> None:
    """Two metrics have equal layouts: given in each other's place they would run, and mean nothing."""
    inputs = micro.inputs(micro.trial("loss"))
    assert inputs["loss"] != inputs["reference_loss"]
    line = refused(arguments(micro, "loss", tmp_path / "out", reference_loss=inputs["loss"]))
    held, wanted = inputs["loss"].name, inputs["reference_loss"].name
    assert line.endswith(f"holds fr_iqa {held}; give the folder of fr_iqa {wanted}")


def test_a_parent_that_diverged(micro: Any, refused: Refused, tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    shutil.copytree(micro.inputs(micro.trial("restoration"))["super_resolution"], parent)
    (parent / "record.json").write_text('{"status": "diverged"}')
    line = refused(arguments(micro, "restoration", tmp_path / "out", super_resolution=parent))
    wanted = micro.inputs(micro.trial("restoration"))["super_resolution"].name
    assert line.endswith(f"{parent} ended as diverged; a super_resolution {wanted} that is done is needed")


def test_a_parent_with_damaged_weights(micro: Any, refused: Refused, tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    shutil.copytree(micro.inputs(micro.trial("restoration"))["super_resolution"], parent)
    file = parent / "weights" / "generator.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    line = refused(arguments(micro, "restoration", tmp_path / "out", super_resolution=parent))
    assert line.startswith(f"{file}: not readable as safetensors")


def test_an_output_folder_of_another_trial(micro: Any, refused: Refused, tmp_path: Path) -> None:
    shutil.copy(micro.folder("gan") / "spec.json", tmp_path)
    line = refused(arguments(micro, "pretext", tmp_path))
    assert line.endswith(f"{tmp_path} holds another trial; give an empty folder for the results")


def change(**fields: Any) -> Callable[[dict[str, Any]], str]:
    return lambda data: json.dumps({**data, **fields})


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda data: json.dumps(data)[:-20], "Expecting"),
        (lambda data: "[1, 2]", "found JSON of type list"),
        (change(kind="pretex"), "kind: found 'pretex'; allowed: pretext, fr_iqa"),
        (change(kind_version=0), "kind_version: found 0; this code runs pretext 1"),
        (change(stepz=3), "stepz"),
        (change(seed="0"), "pretext.seed: found '0'"),
        (change(seed=None), "pretext.seed: found None"),
        (lambda data: json.dumps({k: v for k, v in data.items() if k != "seed"}), "expected ['backbone', "),
    ],
)
def test_a_damaged_spec(damage: Any, why: str, micro: Any, refused: Refused, tmp_path: Path) -> None:
    file = tmp_path / "spec.json"
    file.write_text(damage(json.loads((micro.folder("pretext") / "spec.json").read_text())))
    line = refused([str(file), str(tmp_path / "out")])
    assert line.startswith(f"{file}: ")
    assert why in line
    assert not (tmp_path / "out").exists()


def test_a_spec_that_is_not_there(refused: Refused, tmp_path: Path) -> None:
    assert "No such file" in refused([str(tmp_path / "spec.json"), str(tmp_path / "out")])
