"""docs/extend.md is true: its very blocks, applied to a copy of the code, add the trials that it says and change no key
of others; and one trial of each addition runs."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from orchestrator import spec
from workers.data import stand_ins

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/extend.md").read_text()
TITLES = re.findall(r"^## (.+)$", TEXT, re.MULTILINE)
OWN_CODE = "A kind of trial"
"""The one addition that changes `orchestrator/`."""
# title -> for each of its grids the kinds of the trials that it adds, and their numbers
NEW: dict[str, list[dict[str, int]]] = {
    "A backbone": [
        {"fr_iqa": 1, "super_resolution": 2, "restoration": 2, "judging": 4, "iqa_transfer": 2, "benchmark": 3}
    ],
    "A discriminator": [{"super_resolution": 3, "restoration": 3, "judging": 6, "iqa_transfer": 4, "benchmark": 4}],
    "A judge": [{"judging": 8}, {"judging": 8}],
    "A data set": [{"benchmark": 5, "restoration": 8, "judging": 16}],
    "An IQA initialization": [{"iqa_transfer": 2, "benchmark": 2}],
    "A claim": [{}],
    OWN_CODE: [{"sharpness": 8}],
}
# title -> the kind of which a new trial is run; nothing is new for a claim
RUN = {
    "A backbone": "super_resolution",
    "A discriminator": "super_resolution",
    "A judge": "judging",
    "A data set": "benchmark",
    "An IQA initialization": "iqa_transfer",
    OWN_CODE: "sharpness",
}


def blocks(text: str) -> list[tuple[str, str]]:
    """(language, content) of each block of code."""
    return re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)


def section(title: str) -> str:
    return TEXT.partition(f"## {title}\n")[2].partition("\n## ")[0]


HEAD = next(content for language, content in blocks(TEXT) if language == "yaml")
"""What the page says stands above each grid."""


@dataclass
class Tree:
    """A copy of the code, and what a reader of the page does to it."""

    root: Path
    grids: dict[str, list[str]] = field(default_factory=dict)
    """By title the grids that it shows, as files below the root."""
    changed: list[str] = field(default_factory=list)

    def follow(self, title: str) -> None:
        """Applies the blocks of a section."""
        for language, content in blocks(section(title)):
            match language:
                case "python":
                    self._write(content)
                case "diff":
                    self._patch(content)
                case "sh":
                    subprocess.run(["bash", "-e"], input=content, text=True, cwd=self.root, check=True)
                case "yaml":
                    self._add_grid(title, content)

    def planned(self, file: str) -> dict[str, str]:
        """key -> kind of all trials of a grid, as the command line plans them."""
        command = [sys.executable, "-W", "error", "-m", "orchestrator", "plan", file, "--json"]
        ended = subprocess.run(command, cwd=self.root, env=self.environment(), capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        return {trial["key"]: trial["kind"] for trial in json.loads(ended.stdout)["new"]}

    def run(self, grids: list[tuple[str, str, str]]) -> list[dict[str, Any]]:
        """What extended.py answers."""
        program = [sys.executable, "-W", "error", str(ROOT / "tests/integration/extended.py"), "answer.json"]
        ended = subprocess.run(
            [*program, json.dumps(grids)], cwd=self.root, env=self.environment(), capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stderr
        return list(json.loads((self.root / "answer.json").read_text()))

    def environment(self) -> dict[str, str]:
        return os.environ | {"PYTHONPATH": str(self.root)}

    def _add_grid(self, title: str, content: str) -> None:
        known = self.grids.setdefault(title, [])
        file = f"grids/mine-{TITLES.index(title)}-{len(known)}.yaml"
        (self.root / file).write_text(content if content.startswith("include:") else HEAD + content)
        known.append(file)

    def _write(self, content: str) -> None:
        """`# FILE` begins a new file, `# FILE, above NAME` what stands before a line of one that is there."""
        first, _, code = content.partition("\n")
        name, _, mark = first.removeprefix("# ").partition(", above ")
        file = self.root / name
        assert file.exists() == bool(mark), name
        if mark:
            before, found, after = file.read_text().partition(f"\n{mark}")
            assert found, f"{name} has no line {mark}"
            code = f"{before}\n{code}\n\n{found.lstrip()}{after}"
        self._save(name, code)

    def _patch(self, content: str) -> None:
        """Hunks without numbers, parted by @@: what they find stands once in the file."""
        for name, changes in re.findall(r"^--- (\S+)\n(.*?)(?=^--- |\Z)", content, re.DOTALL | re.MULTILINE):
            text = (self.root / name).read_text()
            for hunk in changes.split("@@\n"):
                lines = hunk.splitlines(keepends=True)
                old, new = ("".join(line[1:] for line in lines if line[0] != sign) for sign in "+-")
                assert text.count(old) == 1, f"{name}: {text.count(old)} times\n{old}"
                text = text.replace(old, new)
            self._save(name, text)

    def _save(self, name: str, text: str) -> None:
        (self.root / name).write_text(text)
        self.changed.append(name)


def copied(root: Path) -> Tree:
    for package in ("orchestrator", "workers"):
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "tests").mkdir()
    (root / "grids").mkdir()
    for name in ("micro.yaml", "official.yaml"):
        shutil.copy(ROOT / "tests" / name, root / "tests")
    return Tree(root)


def grown_from(root: Path, file: str) -> str:
    """The grid that a grid includes."""
    return f"tests/{re.findall(r'include: ../tests/(.+?.yaml)', (root / file).read_text())[0]}"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return copied(tmp_path)


@pytest.mark.parametrize("title", TITLES)
def test_what_is_new_is_what_the_page_says_and_nothing_else_changes(title: str, tree: Tree) -> None:
    grown = "tests/official.yaml" if title == "A data set" else "tests/micro.yaml"
    before = tree.planned(grown)
    tree.follow(title)
    for file, expected in zip(tree.grids[title], NEW[title], strict=True):
        after = tree.planned(file)
        assert before.items() <= after.items()
        assert Counter(after[name] for name in after.keys() - before.keys()) == expected
        assert grown_from(tree.root, file) == grown
    assert not tree.changed or tree.planned(grown) == before
    assert any(name.startswith("orchestrator/") for name in tree.changed) == (title == OWN_CODE)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, official_study: Callable[[Path], Path]) -> dict[str, dict[str, Any]]:
    """title -> outcome of one new trial, in a tree that follows the whole page."""
    tree = copied(tmp_path_factory.mktemp("extended"))
    official = official_study(tree.root)
    official.rename(tree.root / "tests/official.yaml")
    for title in TITLES:
        tree.follow(title)
    write_portraits(tree.root / "data/portraits")
    stand_ins.write_images([tree.root / "data/Faces"], count=2, side=64, seed=2)
    wanted = [(tree.grids[title][-1], kind) for title, kind in RUN.items()]
    outcomes = tree.run([(file, grown_from(tree.root, file), kind) for file, kind in wanted])
    return dict(zip(RUN, outcomes, strict=True))


def write_portraits(folder: Path) -> None:
    """Images for the page's CSV."""
    rng = np.random.default_rng(0)
    rows = (folder / "meta_info_PortraitsDataset.csv").read_text().splitlines()[1:]
    for name in {name for row in rows for name in row.split(",")[:2]}:
        Image.fromarray(rng.integers(256, size=(64, 64, 3), dtype=np.uint8)).save(folder / name)


def test_a_backbone_is_a_loss(ran: dict[str, dict[str, Any]]) -> None:
    found = ran["A backbone"]
    assert found["spec"]["loss"]["kind"] == "fr_iqa"
    assert found["numbers"]["validation_psnr"] > 10


def test_a_discriminator_trains_a_generator(ran: dict[str, dict[str, Any]]) -> None:
    found = ran["A discriminator"]
    assert found["spec"]["discriminator"]["head"] == "pyramid"
    assert found["numbers"]["validation_psnr"] > 10


def test_a_judge_scores(ran: dict[str, dict[str, Any]]) -> None:
    found = ran["A judge"]
    assert found["spec"]["judge"] == {"metric": "brightness", "version": "asymmetry-sweep 1", "weights": ""}
    assert found["numbers"]["lower_better"] == 1
    assert 0 <= found["numbers"]["mean"] < 100


def test_a_data_set_is_a_benchmark(ran: dict[str, dict[str, Any]]) -> None:
    found = ran["A data set"]
    assert (found["spec"]["data"]["name"], found["spec"]["data"]["layout"]) == ("portraits", "pyiqa_fr")
    assert -1 <= found["numbers"]["srcc"] <= 1


def test_an_initialization_starts_from_the_file(ran: dict[str, dict[str, Any]]) -> None:
    found = ran["An IQA initialization"]
    assert found["spec"]["weights"]["kind"] == spec.ReleasedWeights.KIND
    assert len(found["spec"]["weights"]["content"]) == 64
    assert "validation_mse" in found["numbers"]


def test_a_kind_of_trial_runs(ran: dict[str, dict[str, Any]]) -> None:
    found = ran[OWN_CODE]
    assert found["spec"]["kind"] == "sharpness"
    assert 0 < found["numbers"]["ratio"] < 2
