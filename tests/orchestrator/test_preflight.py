"""Preflight on generated stand-ins: all that is wrong in one list, before Ray; what is known is not read again."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator import fetching, preflight
from orchestrator.grid import load
from orchestrator.manifests import Manifests, Request, requests
from orchestrator.preflight import Findings, check
from orchestrator.store import Store

ROOT = Path(__file__).parents[2]
GB = 10**9


@pytest.fixture(scope="module")
def looked_at(
    official_study: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Findings]:
    """A folder with a study whose preflight has been through, and what that found."""
    folder = tmp_path_factory.mktemp("official")
    file = official_study(folder)
    before = Path.cwd()
    os.chdir(folder)
    try:
        return folder, check(load(file), Store("results/store"), say=lambda text: None)
    finally:
        os.chdir(before)


@pytest.fixture
def study(looked_at: tuple[Path, Findings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That folder as the working folder, copied to a place of its own: its manifests know the old one."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    folder = tmp_path / "study"
    shutil.copytree(looked_at[0], folder)
    monkeypatch.chdir(folder)
    return folder


def again(**changes: Any) -> Findings:
    grid = load("grid.yaml")
    runtime = grid.runtime.model_copy(update=changes)
    return check(grid.model_copy(update={"runtime": runtime}), Store("results/store"), say=lambda text: None)


@pytest.fixture
def _no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judges need no file, and each weights file is as good as it is there."""

    def answers(wanted: list[Request], offline: bool) -> list[dict[str, Any]]:
        files = [[[one.tag, "e" * 64]] if one.kind == "file" else [] for one in wanted]
        return [{"fault": "", "files": found, "content": found[0][1] if found else ""} for found in files]

    monkeypatch.setattr(fetching, "ask", answers)


def test_all_in_order(looked_at: tuple[Path, Findings], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, findings = looked_at
    monkeypatch.chdir(folder)
    wanted = requests(load("grid.yaml"))
    assert findings.faults == []
    assert findings.looked_at == [one.words for one in wanted]
    found = Manifests.read(Path("results/store"))
    contents = {one.name: found.content(one) for one in wanted}
    assert {name: len(content) for name, content in contents.items()} == {
        one.name: 0 if one.kind == "judge" else 64 for one in wanted
    }
    sources = json.loads(Path("results/store/sources.json").read_text())
    assert sources["weights"] == {contents["timm/test_resnet.r160_in1k"]: str(folder / "resnet.safetensors")}
    assert sources["data"][contents["div2k"]]["folders"] == [str(folder / "data/DIV2K_train_HR")]


def test_a_second_preflight_reads_nothing_and_takes_no_child_process(
    looked_at: tuple[Path, Findings], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("it read again what it knows")

    monkeypatch.chdir(looked_at[0])
    monkeypatch.setattr(fetching, "ask", never)
    monkeypatch.setattr(subprocess, "Popen", never)
    monkeypatch.setattr(Manifests, "write", never)
    assert check(load("grid.yaml"), Store("results/store"), say=never) == Findings()


@pytest.mark.usefixtures("_no_child")
def test_only_what_changed_is_read_again(looked_at: tuple[Path, Findings], study: Path) -> None:
    again()
    image = next((study / "data/Set5").glob("*.png"))
    shutil.copy(next(p for p in (study / "data/Set5").glob("*.png") if p != image), image)
    assert again().looked_at == [f"data set5 ({study}/data/Set5)"]
    assert again().looked_at == []
    os.utime(study / "resnet.safetensors", ns=(1, 1))
    assert again().looked_at == [f"file timm/test_resnet.r160_in1k ({study}/resnet.safetensors)"]


@pytest.mark.usefixtures("_no_child")
def test_a_manifest_of_another_version_is_made_again(study: Path) -> None:
    again()
    known = json.loads((study / "results/store/manifests.json").read_text())["found"]  # without a digest, as once
    del next(value for name, value in known.items() if f"{study}/data/Set5" in name)["pixels"]
    (study / "results/store/manifests.json").write_text(json.dumps(known))
    assert again().looked_at == [f"data set5 ({study}/data/Set5)"]


@pytest.mark.usefixtures("_no_child")
@pytest.mark.parametrize("damage", [lambda text: text.replace("Set5", "Set6"), lambda text: text[:99], lambda _: "[]"])
def test_damaged_manifests_are_made_again(damage: Callable[[str], str], study: Path) -> None:
    again()
    file = study / "results/store/manifests.json"
    before = file.read_text()
    file.write_text(damage(before))
    assert len(again().looked_at) > 1
    assert set(json.loads(file.read_text())["found"]) <= set(json.loads(before)["found"])
    assert again().looked_at == []


@pytest.mark.usefixtures("_no_child")
def test_damaged_sources_are_written_again(study: Path) -> None:
    again()
    file = study / "results/store/sources.json"
    before = file.read_text()
    for damage in (before[:99], before.replace("Set5", "Set6"), ""):
        file.write_text(damage)
        assert again().looked_at == []
        assert file.read_text() == before


@pytest.mark.usefixtures("_no_child")
def test_what_breaks_later_is_forgotten_and_found(study: Path) -> None:
    again()
    shutil.rmtree(study / "data/Set5")
    assert again().faults == [f"data.sets.set5: {study}/data/Set5: no such folder; expected a folder of images"]
    set5 = next(one for one in requests(load("grid.yaml")) if one.name == "set5")
    assert set5.key not in Manifests.read(Path("results/store")).found


def break_everything(study: Path) -> dict[str, str]:
    """Breaks a study in every way; name of the data set or file -> the fault that must be told."""
    kadid, koniq = study / "data/kadid10k", study / "data/koniq10k"
    rows = (kadid / "dmos.csv").read_text().splitlines()
    image = kadid / "images" / rows[1].split(",")[0]
    image.write_bytes(image.read_bytes()[:500])
    (kadid / "dmos.csv").write_text("\n".join(rows[:-1]) + "\n")
    labels = (koniq / "koniq10k_distributions_sets.csv").read_text().replace(",33.3333,", ",333.3333,", 1)
    (koniq / "koniq10k_distributions_sets.csv").write_text(labels)
    shutil.rmtree(study / "data/Set5")
    (study / "data/DIV2K_train_HR_LR_bicubic/X2/0002x2.png").unlink()
    (study / "resnet.safetensors").unlink()
    return {
        f"data.sets.kadid10k: {kadid}: found 15 labelled images": "its STAND_IN.json says 16",
        f"data.sets.kadid10k: {image}: ": "",
        f"data.sets.koniq10k: {koniq}/512x384/": "found the label 333.333; expected a finite number from 0 to 100",
        f"data.sets.div2k: {study}/data/DIV2K_train_HR/0002.png: ": "found no low-resolution side",
        f"data.sets.set5: {study}/data/Set5: ": "no such folder; expected a folder of images",
        f"file timm/test_resnet.r160_in1k ({study}/resnet.safetensors): ": "missing file",
        "runtime.gpus: found 99 a trial, but this machine has ": "gpus: 0 (reserves none",
    }


def test_everything_that_is_wrong_comes_in_one_list_before_ray(study: Path) -> None:
    expected = break_everything(study)
    text = Path("grid.yaml").read_text()
    Path("grid.yaml").write_text(text.replace("runtime: {", "runtime: {gpus: {super_resolution: 99}, "))
    program = """
import sys
import orchestrator.__main__
sys.argv = ["orchestrator", "sweep", "grid.yaml"]
try:
    orchestrator.__main__.main()
finally:
    print({"ray", "torch", "mlflow"} & set(sys.modules))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-c", program]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    lines = ended.stderr.splitlines()
    assert ended.returncode == 2
    assert ended.stdout.splitlines()[-1] == "set()"
    for start, end in expected.items():
        assert [line for line in lines if line.startswith(f"grid.yaml: {start}") and end in line], (start, lines)
    assert len(lines) == len(expected), lines
    assert not list((study / "results/store").glob("*/*/spec.json"))


@pytest.mark.usefixtures("_no_child")
@pytest.mark.parametrize(
    ("gpus", "there", "faults"), [(1, 0, 1), (0.25, 0, 1), ({"judging": 2}, 1, 1), (1, 1, 0), (0, 0, 0)]
)
def test_gpus_must_be_there(gpus: Any, there: int, faults: int, study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "gpu_bytes", lambda: [80 * GB] * there)
    found = [fault for fault in again(gpus=gpus).faults if fault.startswith("runtime.gpus")]
    assert len(found) == faults
    assert all(f"but this machine has {there}" in fault for fault in found)


@pytest.mark.usefixtures("_no_child")
def test_a_cluster_is_asked_by_ray(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "gpu_bytes", list)
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert again(gpus=8).faults == []


@pytest.mark.usefixtures("_no_child")
def test_a_store_that_cannot_be_written_is_told_with_the_rest(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(self: Store) -> None:
        raise OSError(30, "Read-only file system", "/x")

    shutil.rmtree(study / "data/Set5")
    before = (study / "results/store/manifests.json").read_text()
    monkeypatch.setattr(Store, "check_writable", read_only)
    assert again().faults == [
        "runtime.storage: found results/store, Read-only file system; allowed: a folder that can be written, with room",
        f"data.sets.set5: {study}/data/Set5: no such folder; expected a folder of images",
    ]
    assert (study / "results/store/manifests.json").read_text() == before


@pytest.mark.usefixtures("_no_child")
def test_a_full_disk_is_told(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10 * GB, 9 * GB, GB))  # type: ignore[attr-defined]
    assert again().faults == ["runtime.storage: found results/store with 1.0 GB free; allowed: at least 2.1 GB"]


@pytest.mark.usefixtures("_no_child")
def test_a_root_that_is_not_set_is_one_fault(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATA_ROOT", raising=False)
    Path("grid.yaml").write_text(Path("grid.yaml").read_text().replace("root: data", "root: $DATA_ROOT/x"))
    assert again().faults == [
        "data.root: found $DATA_ROOT/x, which is not set; allowed: a folder, or a variable that holds one"
    ]
    monkeypatch.setenv("DATA_ROOT", str(study))
    assert again().faults[0].startswith(f"data.sets.kadid10k: {study}/x/kadid10k: no such folder")
    (study / "x").symlink_to(study / "data")
    assert again().faults == []


@pytest.mark.usefixtures("_no_child")
def test_sizes_that_the_images_do_not_allow(study: Path) -> None:
    """Three images of 64 x 64, at scale 2: found before any trial, not by the first one."""
    text = Path("grid.yaml").read_text()
    for old, new in (("hold_out: 1", "hold_out: 3"), ("patch: 16", "patch: 48"), ("    crop: 64", "    crop: 96")):
        assert old in text
        text = text.replace(old, new)
    Path("grid.yaml").write_text(text)
    side = "the shortest side of its images, 64, reduced 2 times"
    assert [fault for fault in again().faults if "allowed" in fault] == [
        "super_resolution.hold_out: found 3; allowed: 1 to 2, one less than the images",
        f"super_resolution.training.patch: found 48; allowed: at most 32 ({side})",
        "iqa_sets.fr.crop: found 96; allowed: at most 64, the shortest side of the images of kadid10k",
        "iqa_sets.nr.crop: found 96; allowed: at most 64, the shortest side of the images of koniq10k",
    ]


def test_a_child_that_ends_badly_is_an_error_with_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(RuntimeError, match=r"workers\.prefetch ended with 1"):
        fetching.ask([], offline=True)


@pytest.mark.parametrize(("printed", "found"), [("81920\n81920\n", [85899345920] * 2), ("", []), ("no devices", [])])
def test_gpu_memory_as_nvidia_smi_prints_it(printed: str, found: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    answer = subprocess.CompletedProcess([], 0, stdout=printed)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    assert preflight.gpu_bytes() == found
