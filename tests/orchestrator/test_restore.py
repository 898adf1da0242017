"""A store restored from MLflow alone gives the tables of the first; what cannot be restored is told, in words."""

import contextlib
import json
import shutil
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from orchestrator import grid as grids
from orchestrator import integrity, matrix, naming, plan
from orchestrator.__main__ import main
from orchestrator.identity import key
from orchestrator.manifests import Manifests, judge_request
from orchestrator.spec import TRAINING_KINDS, Trial
from orchestrator.store import Store, data_files, identity_record
from orchestrator.tracking import Mirror, Writer
from tests.aggregate.conftest import GRID, fill, tree

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),  # MLflow's use of SQLAlchemy
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # MLflow keeps its SQLite connections until exit
]
DIVERGED = ("vit", "patch-vgg-pretext")
FAILED = ("judging", "vgg", "vsi", "none", "natural")
TINY = GRID.replace("seeds: [0, 1]", "seeds: [0]").replace(", texture: [retina]", "")
JUDGES = ("piqe", "vsi", "gmsd", "psnr")


def status(label):
    """One SR trial diverged, which leaves out all below it, and one judging failed; the rest is done."""
    if (label.loss, label.discriminator) == DIVERGED:
        return "diverged" if label.role == "optimization" else None
    judged = (label.role, label.loss, label.judge, label.discriminator, label.data_set)
    return "failed" if judged == FAILED else "done"


@dataclass
class Swept:
    """A grid, its store, and the folder in which `mlflow.db` mirrors it."""

    grid: Path
    store: Store
    mirror: Path
    nodes: dict[str, plan.Node]
    names: dict[str, str]

    def node(self, kind: str, status: str = "done") -> plan.Node:
        return next(node for node in self.nodes.values() if (node.kind, node.status) == (kind, status))


def completed(store: Store, node: plan.Node) -> None:
    """Gives a trial that `fill` made the weights and the record that a worker leaves."""
    folder = store.prepare(node.spec)
    record = json.loads((folder / "record.json").read_text()) if (folder / "record.json").exists() else {"numbers": {}}
    record["numbers"]["mean"] = 0.5
    files = {name: (folder / name).read_bytes() for name in data_files(folder)}
    if node.kind in TRAINING_KINDS and node.status == "done":
        files["weights/some.safetensors"] = node.key.encode()
    with store.claim(node.kind, node.key):
        work = store.workspace(node.kind, node.key)
        for name, content in files.items():
            (work / name).parent.mkdir(exist_ok=True, parents=True)
            (work / name).write_bytes(content)
        store.finish(work, {"seconds": 1.0, **record, **identity_record(node.spec), "status": node.status})


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """The small grid's store and its mirror, which was moved after it was written; not to be written to."""
    folder = tmp_path_factory.mktemp("swept")
    file, store = folder / "tiny.yaml", Store(folder / "store")
    file.write_text(f"{TINY}runtime: {{storage: {store.root}, tracking: {folder}/moved/mlflow.db}}\n")
    manifests = Manifests({judge_request(judge).key: {"content": "", "files": []} for judge in JUDGES})
    manifests.write(store.root)
    study = matrix.expand(grids.load(file), manifests)
    fill(store, study, status)
    planned = plan.build((label.spec for label in study.labels), store.index(), lambda spec: 1.0)
    for node in planned.nodes.values():
        if node.kind == "pretext":
            node.status = "done"
        if node.status in ("done", "diverged"):
            completed(store, node)
    names = naming.names(study.labels, (node.spec for node in planned.nodes.values()))
    mirror = Mirror(str(folder / "first" / "mlflow.db"), "tiny", store, names, {"sweep": "abc"})
    for node in planned.nodes.values():
        if node.status in ("done", "diverged"):
            mirror.add(node)
    mirror.close("FAILED")
    assert mirror.faults == []
    (folder / "first").rename(folder / "moved")
    return Swept(file, store, folder / "moved", planned.nodes, names)


Restore = Callable[..., tuple[int, str, str]]


@pytest.fixture
def restore(swept: Swept, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Restore:
    """(store, grid, options) -> exit code, standard output and errors of the verb."""

    def call(storage: Path, *options: str, grid: Path | None = None) -> tuple[int, str, str]:
        words = ["orchestrator", "restore", str(grid or swept.grid), "--storage", str(storage), *options]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return int(str(end.value.code)), said.out, said.err

    return call


@pytest.fixture
def copied(swept: Swept, tmp_path: Path) -> Path:
    """A copy of the mirror that may be damaged and written to: it says itself where its files are."""
    folder = Path(shutil.copytree(swept.mirror, tmp_path / "copied"))
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as database:
        moved = (str(swept.mirror.with_name("first")), str(folder))
        database.execute("UPDATE runs SET artifact_uri = replace(artifact_uri, ?, ?)", moved)
        database.commit()
    return folder


def artifacts(mirror: Path, node: plan.Node) -> Path:
    """Where the mirror has the files of an evaluation."""
    return next(mirror.glob(f"mlartifacts/*/artifacts/evaluations/{node.kind}/{node.key}"))


def tables_of(grid: Path, root: Path) -> dict[str, str]:
    """Every table of a grid as CSV, from the store in `root`."""
    from orchestrator.aggregate import scores, tables

    loaded = grids.load(grid)
    runtime = loaded.runtime.model_copy(update={"storage": str(root)})
    built = tables.build(scores.read(loaded.model_copy(update={"runtime": runtime})))
    return {table.name: table.frame.to_csv() for table in built}


def test_a_restored_store_gives_the_same_tables(swept: Swept, restore: Restore, tmp_path: Path) -> None:
    root = tmp_path / "restored"
    code, out, err = restore(root)
    restorations = sum((node.kind, node.status) == ("restoration", "done") for node in swept.nodes.values())
    there = [node for node in swept.nodes.values() if node.status in ("done", "diverged")]
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"{len(swept.nodes)} trials: {len(there) - restorations} restored to {root}, 0 were there",
        f"restoration: {restorations} are not in the mirror, as images are not; the report has no crops of them",
        "judging: 1 are not in the mirror: failed, or never run",
        "no weights were asked for: tables need none, but a sweep that goes on from here does (--weights)",
        f"next: .venv/bin/python -m orchestrator.aggregate --grid {swept.grid} --storage {root} "
        f"--out results/{grids.load(swept.grid).name}-restored",
    ]
    expected, found = tables_of(swept.grid, swept.store.root), tables_of(swept.grid, root)
    assert len(found) > 5
    assert {name for name in expected if expected[name] != found.get(name)} == {"missing"}  # by the failed judging
    for node in there:
        if node.kind != "restoration":
            before, after = (store.folder(node.kind, node.key) for store in (swept.store, Store(root)))
            kept = {name for name in tree(before) if not name.startswith("weights/")}
            kept -= {"lock", "attempts.jsonl"}  # the history is in the record, too
            assert set(tree(after)) - {"lock"} == kept
            assert all((after / name).read_bytes() == (before / name).read_bytes() for name in kept)


def test_only_what_is_missing_is_restored(swept: Swept, restore: Restore, tmp_path: Path) -> None:
    root, judging, trained = tmp_path / "restored", swept.node("judging"), swept.node("super_resolution")
    restore(root)
    assert restore(root)[1].startswith(f"{len(swept.nodes)} trials: 0 restored")
    store = Store(root)
    (store.folder(judging.kind, judging.key) / "DONE").unlink()
    store.fail(judging.kind, judging.key, "out of memory")
    assert restore(root)[1].startswith(f"{len(swept.nodes)} trials: 1 restored")
    assert store.status(judging.kind, judging.key) == "done"
    with_weights = sum(node.kind in TRAINING_KINDS and node.status == "done" for node in swept.nodes.values())
    code, out, _ = restore(root, "--weights")
    assert (code, "--weights" in out) == (0, False)
    assert out.startswith(f"{len(swept.nodes)} trials: {with_weights} restored")
    assert (store.folder(trained.kind, trained.key) / "weights" / "some.safetensors").read_text() == trained.key


def test_what_a_sweep_has_finished_meanwhile_stays(
    swept: Swept, restore: Restore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, prepare = swept.node("pretext"), Store.prepare

    def finished_meanwhile(store: Store, spec: Trial) -> Path:
        folder = prepare(store, spec)
        if key(spec) == node.key:
            with store.claim(node.kind, node.key):
                work = store.workspace(node.kind, node.key)
                (work / "weights").mkdir()
                (work / "weights" / "some.safetensors").write_bytes(b"other bits")
                store.finish(work, {**identity_record(spec), "status": "done", "numbers": {}, "seconds": 2.0})
        return folder

    monkeypatch.setattr(Store, "prepare", finished_meanwhile)
    restore(tmp_path / "store", "--weights")
    store = Store(tmp_path / "store")
    assert store.record(node.kind, node.key)["seconds"] == 2.0
    assert not integrity.faults(store, [(node.kind, node.key)], deep=True)


def test_damaged_files_are_told_and_left_out(swept: Swept, restore: Restore, copied: Path, tmp_path: Path) -> None:
    nodes = [node for node in swept.nodes.values() if (node.kind, node.status) == ("judging", "done")][:5]
    changed, gone, cut, strange, unrecorded = (artifacts(copied, node) for node in nodes)
    with open(changed / "scores.parquet", "ab") as file:
        file.write(b"x")
    (gone / "scores.parquet").unlink()
    (cut / "record.json").write_text("{")
    (strange / "record.json").write_text((changed / "record.json").read_text())
    (unrecorded / "record.json").unlink()
    code, out, _ = restore(tmp_path / "restored", "--tracking", str(copied / "mlflow.db"))
    reasons = (
        "its scores.parquet does not have the digest that its record says",
        "the mirror has no scores.parquet of it",
        "its record.json is cut short or not JSON",
        "its record.json is not that of this trial, finished",
        "the mirror has no record.json of it",
    )
    told = {f"judging {node.key} left out: {reason}" for node, reason in zip(nodes, reasons, strict=True)}
    assert {line for line in out.splitlines() if "left out:" in line} == told
    assert code == 1
    index = Store(tmp_path / "restored").index()
    assert not {(node.kind, node.key) for node in nodes} & set(index)
    assert len(index) > len(nodes)


def test_a_run_whose_files_are_gone_costs_its_trials_alone(
    swept: Swept, restore: Restore, copied: Path, tmp_path: Path
) -> None:
    run = artifacts(copied, swept.node("benchmark")).parents[2]
    shutil.rmtree(run / "evaluations")
    code, out, _ = restore(tmp_path / "restored", "--tracking", str(copied / "mlflow.db"))
    left_out = [line for line in out.splitlines() if "left out:" in line]
    assert code == 1
    assert len(left_out) == 1
    assert f"run {run.parent.name} cannot be read" in left_out[0]


def test_contents_that_are_cut_short_are_told(restore: Restore, copied: Path, tmp_path: Path) -> None:
    file = next(copied.glob("mlartifacts/*/artifacts/sweep/manifests.json"))
    file.write_text(file.read_text()[:-5])
    code, _, err = restore(tmp_path / "restored", "--tracking", str(copied / "mlflow.db"))
    assert (code, err.endswith(f"manifests.json of run {file.parents[2].name} is cut short or not JSON\n")) == (2, True)


def test_what_a_store_knows_of_contents_stays(swept: Swept, restore: Restore, tmp_path: Path) -> None:
    known = judge_request("piqe").key
    Manifests({known: {"content": "", "files": [], "seen": "here"}}).write(tmp_path)
    restore(tmp_path)
    found = Manifests.read(tmp_path).found
    assert found[known]["seen"] == "here"
    assert found.keys() == Manifests.read(swept.store.root).found.keys()
    assert (tmp_path / "sources.json").exists()


def test_the_store_has_links_to_every_run(swept: Swept, restore: Restore, tmp_path: Path) -> None:
    restore(tmp_path)
    written, restored = (json.loads((root / "mlflow/tiny.json").read_text()) for root in (swept.store.root, tmp_path))
    assert restored == written
    client = MlflowClient(f"sqlite:///{swept.mirror}/mlflow.db")
    assert client.get_experiment(written["experiment"]).name == "tiny"
    finished = [node for node in swept.nodes.values() if node.status in ("done", "diverged")]
    assert written["runs"].keys() == {node.key for node in finished if node.kind != "restoration"}
    runs = written["runs"]
    for node in finished:
        if node.kind in TRAINING_KINDS:
            assert client.get_run(runs[node.key]).data.tags["key"] == node.key
        if node.kind == "benchmark":
            assert runs[node.key] == runs[node.parents[0]]
        if node.kind == "judging":
            generator = swept.nodes[node.parents[0]].parents
            assert client.get_run(runs[node.key]).data.tags.get("key") == (generator[0] if generator else None)


def test_a_mirror_without_files_gets_them_by_the_next_sweep(
    swept: Swept, restore: Restore, copied: Path, tmp_path: Path
) -> None:
    """What an earlier version mirrored has numbers, but neither files nor the tags that say so."""
    place, file, root = str(copied / "mlflow.db"), tmp_path / "old.yaml", tmp_path / "restored"
    file.write_text(swept.grid.read_text().replace("name: tiny", "name: old"))
    trained, judging = swept.node("pretext"), next(n for n in swept.nodes.values() if n.kind == "judging")

    def sweep() -> None:
        writer = Writer(place, "old", swept.store, swept.names, {"sweep": "abc"})
        writer.write(trained)
        writer.write(judging)

    sweep()
    client = MlflowClient(f"sqlite:///{place}")
    runs = client.search_runs([client.get_experiment_by_name("old").experiment_id])
    parent, child = sorted(runs, key=lambda run: "key" in run.data.tags)
    client.set_tag(child.info.run_id, "mirrored", "whole")
    client.delete_tag(parent.info.run_id, "evaluations")
    told = (
        f"{place}: experiment 'old' has 2 runs and no files of trials in them: a version before this one mirrored it, "
        "or nothing has finished; next: sweep again where its store is\n"
    )
    assert restore(root, "--tracking", place, grid=file) == (2, "", told)
    sweep()
    assert restore(root, "--tracking", place, grid=file)[0] == 0
    assert set(Store(root).index()) == {("pretext", trained.key), ("judging", judging.key)}


def test_mirrors_that_cannot_be_read(swept: Swept, restore: Restore, tmp_path: Path) -> None:
    place, root = swept.mirror / "mlflow.db", tmp_path / "restored"
    absent = tmp_path / "none.db"
    told = f"{absent}: not there; --tracking names the MLflow database or server that a sweep filled\n"
    assert restore(root, "--tracking", str(absent)) == (2, "", told)
    assert not absent.exists()
    server = "http://127.0.0.1:9"
    code, _, err = restore(root, "--tracking", server)
    assert code == 2
    assert err.startswith(f"{server}: no MLflow server answers (ConnectionError: {server} does not answer ")
    assert err.count("\n") == 1
    other = tmp_path / "other.yaml"
    other.write_text(swept.grid.read_text().replace("name: tiny", "name: other"))
    told = f"{place}: no experiment 'other'; there are: Default, tiny\n"
    assert restore(root, grid=other) == (2, "", told)
    edited = tmp_path / "edited.yaml"
    edited.write_text(swept.grid.read_text().replace("numerics: reference", "numerics: fast"))
    code, _, err = restore(root, grid=edited)
    assert code == 2
    assert err == f"{place}: has none of the {len(swept.nodes)} trials of {edited}\n"


def test_contents_that_the_mirror_does_not_know_are_named(swept: Swept, restore: Restore, tmp_path: Path) -> None:
    more = tmp_path / "more.yaml"
    more.write_text(swept.grid.read_text().replace("beside: [psnr]", "beside: [psnr, ssim]"))
    code, out, _ = restore(tmp_path / "restored", grid=more)
    assert code == 0
    line = next(line for line in out.splitlines() if "does not know" in line)
    assert line == (
        "the mirror does not know: judge ssim; trials that use them have other keys here; name them as the sweep did "
        "(DATA_ROOT, paths of weights, version of pyiqa)"
    )


def test_links_that_cannot_be_written_cost_nothing_else(swept: Swept, tmp_path: Path, copied: Path) -> None:
    (tmp_path / "mlflow").write_text("no folder")
    mirror = Mirror(str(copied / "mlflow.db"), "tiny", Store(tmp_path), swept.names, {"sweep": "abc"})
    mirror.close("FINISHED")
    assert len(mirror.faults) == 1
    assert "mlflow" in mirror.faults[0]


def test_of_two_versions_of_a_judge_the_later_is_shown(swept: Swept, copied: Path, tmp_path: Path) -> None:
    first = next(node.spec for node in swept.nodes.values() if node.kind == "judging")
    second = replace(first, judge=replace(first.judge, version="a later one"))
    store = Store(tmp_path / "store")
    writer = Writer(str(copied / "mlflow.db"), "new", store, {}, {"sweep": "abc"})
    for time, (judging, mean) in enumerate([(first, 2.0), (second, 1.0)], 1):
        (store.prepare(judging) / "attempts.jsonl").write_text(json.dumps({"time": time}))
        record = {**identity_record(judging), "status": "done", "numbers": {"mean": mean}}
        with store.claim(judging.KIND, key(judging)):
            store.finish(store.workspace(judging.KIND, key(judging)), record)
        writer.write(plan.Node(judging, key(judging), ()))
    name = f"bicubic/natural/{first.judge.metric}"
    assert writer.client.get_run(writer.parent).data.metrics == {name: 1.0}
    assert set(writer.links()["runs"]) == {key(first), key(second)}
