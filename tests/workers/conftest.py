"""The micro graph, run once in this process: finished trials of all seven kinds for every test to start from."""

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator import grid, known, matrix, plan, spec
from orchestrator.identity import key, spec_json
from orchestrator.manifests import Manifests, judge_request
from orchestrator.store import Store, data_files, identity_record
from workers import trial
from workers.context import Context
from workers.data import layouts, stand_ins
from workers.data.layouts import DataSetError
from workers.sources import Sources

MICRO = Path(__file__).parents[1] / "micro.yaml"


@dataclass(frozen=True)
class Outcome:
    """What must be equal when a trial is run again: everything but seconds, memory and versions."""

    status: str
    note: str
    numbers: dict[str, float]
    files: dict[str, bytes]


@dataclass(frozen=True)
class Graph:
    """Finished trials and the ways to run one of them, or a changed one, again."""

    store: Store
    specs: tuple[spec.Trial, ...]

    def trial(self, name: str) -> Any:
        """One trial of each recipe and way through it; see `_is`."""
        return next(found for found in self.specs if _is(name, found))

    def folder(self, name: str) -> Path:
        """Its folder in the store."""
        found = self.trial(name)
        return self.store.folder(found.KIND, key(found))

    def record(self, name: str) -> dict[str, Any]:
        """Its record in the store."""
        return dict(json.loads((self.folder(name) / "record.json").read_text()))

    def inputs(self, trial_spec: spec.Trial) -> dict[str, Path]:
        """Folder of the finished parent in each role."""
        return {role: self.store.folder(parent.KIND, key(parent)) for role, parent in spec.parents(trial_spec)}

    def run(self, trial_spec: spec.Trial, out: Path, **surroundings: Any) -> Outcome:
        """Runs a trial whose parents are finished, from its spec.json as a worker does."""
        out.mkdir(exist_ok=True)
        surroundings = {"sources": Sources(cache=out.with_name(f"{out.name}-cache")), **surroundings}
        context = Context(self.inputs(trial_spec), out, key=key(trial_spec), **surroundings)
        record = trial.run(spec.decode(json.loads(spec_json(trial_spec))), context)
        return Outcome(record["status"], record["note"], record["numbers"], results(out))


def results(folder: Path) -> dict[str, bytes]:
    """Bytes of each result file by relative path, without the checkpoint."""
    paths = [path for path in data_files(folder) if not path.startswith("checkpoint/")]
    return {path: (folder / path).read_bytes() for path in paths}


def _is(name: str, found: spec.Trial) -> bool:
    match name, found:
        case ("warm-up", spec.SuperResolution(start=None)):
            return True
        case ("gan", spec.SuperResolution(loss=spec.FrIqa(), discriminator=spec.Discriminator())):
            return True
        case ("loss", spec.SuperResolution(loss=spec.FrIqa(backbone=spec.Backbone(model="small/convnext")))):
            return found.discriminator is None
        case ("fr" | "nr", spec.IqaTransfer(weights=spec.RandomWeights())):
            return found.task == name
        case ("gan-start", spec.IqaTransfer(weights=spec.SuperResolution())):
            return True
        case ("bicubic", spec.Restoration(super_resolution=None)):
            return True
        case ("restoration", spec.Restoration(super_resolution=spec.SuperResolution())):
            return True
        case (
            "psnr" | "piqe" | "artifacts",
            spec.Judging(restoration=spec.Restoration(super_resolution=spec.SuperResolution())),
        ):
            return found.judge.metric == name
        case ("benchmark", spec.Benchmark(model=spec.FrIqa())) | ("iqa-benchmark", spec.Benchmark()):
            return name == "benchmark" or isinstance(found.model, spec.IqaTransfer)
        case ("pretext", spec.Pretext()):
            return True
        case ("fr_iqa", spec.FrIqa(weights=spec.Pretext())):
            return True
    return False


@contextlib.contextmanager
def numerics_put_back() -> Iterator[None]:
    """A trial sets threads and determinism for its whole process; other tests must not depend on whether one ran."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@pytest.fixture(autouse=True)
def numerics() -> Iterator[None]:
    with numerics_put_back():
        yield


@pytest.fixture(scope="session")
def micro(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    loaded = grid.load(MICRO)
    beside = (*loaded.judges.beside, *known.own_judges())
    loaded = loaded.model_copy(update={"judges": loaded.judges.model_copy(update={"beside": beside})})
    judges = {judge_request(judge).key: {"content": ""} for judge in loaded.judges.families()}  # they need no file
    labels = matrix.expand(loaded, Manifests(judges)).labels
    nodes = plan.build([label.spec for label in labels], {}, lambda _: 1.0).nodes.values()
    graph = Graph(Store(tmp_path_factory.mktemp("micro") / "store"), tuple(node.spec for node in nodes))
    with numerics_put_back():
        for node in nodes:
            folder = graph.store.prepare(node.spec)
            read = spec.decode(json.loads((folder / "spec.json").read_text()))
            sources = Sources(cache=graph.store.root.parent / "cache")
            with graph.store.claim(node.kind, node.key):
                work = graph.store.workspace(node.kind, node.key)
                record = trial.run(read, Context(graph.inputs(node.spec), work, key=node.key, sources=sources))
                assert record["status"] == "done", record
                graph.store.finish(work, {**identity_record(node.spec), **record})
    return graph


@pytest.fixture
def retrained() -> Any:
    """(spec, settings) -> the same trial with other training settings."""

    def change(found: Any, **settings: Any) -> Any:
        return dataclasses.replace(found, training=dataclasses.replace(found.training, **settings))

    return change


@pytest.fixture
def files_of() -> Any:
    """folder -> bytes of its result files by relative path."""
    return results


# ------------------------------------------------------------------------------------ data sets on disk


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stand-ins of every official layout, each in a folder of its name, and of images, hr and more, with a low side."""
    folder = tmp_path_factory.mktemp("sets")
    for layout in layouts.LAYOUTS:
        stand_ins.write_iqa(layout, folder / layout, contents=4, per_content=6, side=64)
    stand_ins.write_images([folder / "hr", folder / "more"], count=2, side=64, low_scale=4)
    return folder


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Callable[[str], Path]:
    """name -> a copy of that stand-in which the test may spoil."""
    return lambda name: shutil.copytree(root / name, tmp_path / name)


@pytest.fixture
def faults() -> Callable[[str, Path], tuple[str, ...]]:
    """(layout, folder) -> what reading its labels finds wrong."""

    def told(layout: str, folder: Path) -> tuple[str, ...]:
        with pytest.raises(DataSetError) as raised:
            layouts.read(layout, folder)
        assert str(raised.value) == "\n".join(raised.value.faults)
        return raised.value.faults

    return told


@pytest.fixture
def edit() -> Callable[[Path, str, str], None]:
    """(file, old, new) puts `new` in the place of the first `old`."""

    def replace(path: Path, old: str, new: str) -> None:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return replace
