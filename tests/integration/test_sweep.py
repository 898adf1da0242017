"""A small real sweep on a real local Ray: killed in the middle, interrupted, finished, grown, broken and mended."""

import hashlib
import json
import shutil
import signal
import subprocess
from ipaddress import ip_address
from pathlib import Path

import psutil
import pytest

from orchestrator import plan as plans
from orchestrator import spec as specs
from orchestrator.disk import sha256
from orchestrator.history import attempts
from orchestrator.identity import key
from orchestrator.store import Store, done
from tests.integration.sweeping import PATIENCE, Folder, kill, wait_until

GRID = Path(__file__).parents[1] / "micro.yaml"


def test_runs_everything_and_says_where(undisturbed: Folder) -> None:
    planned = {(label.spec.KIND, key(label.spec)) for label in undisturbed.labels()}
    assert planned <= undisturbed.finished().keys()
    assert (undisturbed.path / "results/micro/report.html").exists()
    assert not list(undisturbed.store.root.rglob("checkpoint"))
    assert not list(undisturbed.store.root.rglob("FAILED"))


def test_second_sweep_runs_nothing_and_starts_no_ray(undisturbed: Folder) -> None:
    before, altered = undisturbed.results(), undisturbed.path / "results/micro/grid.yaml"
    altered.write_text("# of a sweep before, which -o had made\n")
    code, output = undisturbed.run()
    assert code == 0
    assert "nothing to do" in output
    assert "Ray dashboard" not in output
    assert not altered.exists(), "it is not what ran"
    assert undisturbed.results() == before


def test_tables_and_mirror_are_made_again_without_ray_when_words_change_or_they_are_gone(
    undisturbed: Folder, tmp_path: Path
) -> None:
    shutil.copytree(undisturbed.path, tmp_path, dirs_exist_ok=True)
    moved = GRID.read_text().replace("{no-reference: [piqe]}", "{no-reference: [piqe], error: [psnr]}")
    folder = Folder(tmp_path, moved.replace("beside: [psnr]", "beside: []"))
    scores = tmp_path / "results/micro/tables/optimization_score.csv"
    before = scores.read_text()
    code, output = folder.run()
    assert (code, "nothing to do" in output, "Ray dashboard" in output) == (0, False, False), output
    assert scores.read_text() != before
    (tmp_path / "results/mlflow.db").unlink()
    code, output = folder.run()
    assert (code, "nothing to do" in output, "Ray dashboard" in output) == (0, False, False), output
    assert (tmp_path / "results/mlflow.db").exists()
    assert "nothing to do" in folder.run()[1]


def test_damaged_trials_run_again_and_nothing_else(undisturbed: Folder, tmp_path: Path) -> None:
    """A metric loses half of a file, a judging its record, a byte changes, which only `fsck` can see, and an input."""
    shutil.copytree(undisturbed.path, tmp_path, dirs_exist_ok=True)
    folder = Folder(tmp_path, GRID.read_text())
    before, results = folder.finished(), folder.results()
    metric, judging, flipped, stale = (
        min((tmp_path / "results/store" / kind).iterdir())
        for kind in ("fr_iqa", "judging", "benchmark", "iqa_transfer")
    )
    weights = next(metric.rglob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:100])
    (judging / "record.json").unlink()
    scores = flipped / "scores.parquet"
    scores.write_bytes(scores.read_bytes()[:-1] + b"X")
    record = json.loads((stale / "record.json").read_text())
    record["inputs"] = dict.fromkeys(record["inputs"], "0" * 64)
    (stale / "record.json").write_text(json.dumps(record))
    (stale / "DONE").write_text(done("done", json.dumps(record)))  # as if so written
    code, output = folder.run("orchestrator", "plan", "grid.yaml")
    assert "has changed since" in output
    assert "weights/metric.safetensors has 100 bytes" in output
    code, output = folder.run("orchestrator", "fsck", "grid.yaml")
    assert (code, "4 damaged or stale" in output) == (1, True), output
    code, output = folder.run("orchestrator", "fsck", "grid.yaml", "--repair")
    assert code == 0, output
    lost = {(path.parent.name, path.name) for path in (metric, judging, flipped, stale)}
    assert before.keys() - folder.finished().keys() == lost
    code, output = folder.run()
    assert code == 0, output
    assert folder.results() == results
    again = {address for address in before if len(_starts(folder.store.folder(*address))) == 2}
    assert again == lost


def test_scores_that_only_the_aggregator_reads_are_mended_too(undisturbed: Folder, tmp_path: Path) -> None:
    shutil.copytree(undisturbed.path, tmp_path, dirs_exist_ok=True)
    folder = Folder(tmp_path, GRID.read_text())
    results, tables = folder.results(), folder.tables()
    judging = min((tmp_path / "results/store/judging").iterdir())
    scores = bytearray((judging / "scores.parquet").read_bytes())
    scores[len(scores) // 2] ^= 4
    (judging / "scores.parquet").write_bytes(scores)
    (tmp_path / "results/micro/report.html").unlink()  # or there would be nothing to do, and nothing to read
    code, output = folder.run()
    assert code == 0, output
    assert f"runs again: judging/{judging.name}: scores.parquet is not what was written" in output
    assert (folder.results(), folder.tables()) == (results, tables)


def test_damage_that_only_a_reader_sees_is_mended_before_anything_is_made_of_it(
    undisturbed: Folder, tmp_path: Path
) -> None:
    shutil.copytree(undisturbed.path, tmp_path, dirs_exist_ok=True)
    folder = Folder(tmp_path, GRID.read_text())
    before, results = folder.finished(), folder.results()
    trained = [label.spec for label in folder.labels() if "start" in dict(specs.parents(label.spec))]
    for trial in {key(spec): spec for spec in trained}.values():
        shutil.rmtree(folder.store.folder(trial.KIND, key(trial)))
    start = dict(specs.parents(trained[0]))["start"]
    weights = next(folder.store.folder(start.KIND, key(start)).rglob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"X")
    code, output = folder.run()
    assert code == 0, output
    assert f"{start.KIND}/{key(start)}" not in output, "it looked whole when the sweep began"
    assert (folder.results(), folder.finished()) == (results, before)
    tries = [attempt["outcome"] for attempt in attempts(folder.store.folder(start.KIND, key(start)))]
    assert tries == ["started", "done", "damaged", "started", "done"]


def _starts(folder: Path) -> list[object]:
    return [attempt for attempt in attempts(folder) if attempt["outcome"] == "started"]


def test_growing_the_grid_runs_exactly_the_new_trials(undisturbed: Folder, tmp_path: Path) -> None:
    shutil.copytree(undisturbed.path, tmp_path, dirs_exist_ok=True)
    grown = GRID.read_text().replace("beside: [psnr]", "beside: [psnr, ssim]").replace("seeds: [0]", "seeds: [0, 1]")
    folder = Folder(tmp_path, grown)
    before = folder.finished()
    code, output = folder.run()
    assert code == 0, output
    # Planned afterwards: only the sweep's preflight has looked for the new judge's files.
    planned = plans.build((label.spec for label in folder.labels()), before, lambda spec: 1.0)
    assert {node.kind for node in planned.to_do()} >= {"super_resolution", "iqa_transfer", "judging"}
    assert set(folder.finished()) - set(before) == {(node.kind, node.key) for node in planned.to_do()}


def listening(process: subprocess.Popen[bytes]) -> set[str]:
    """Addresses on which a driver and all that it started take connections."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    found = [one for member in family for one in member.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
    assert len(found) > 4, "Ray's own"
    return {one.laddr.ip.removeprefix("::ffff:") for one in found}


def test_a_killed_driver_and_then_an_interrupt_leave_the_same_results(undisturbed: Folder, tmp_path: Path) -> None:
    folder = Folder(tmp_path, GRID.read_text())
    process = folder.start()
    wait_until(lambda: len(folder.finished()) >= 5, process)
    assert {address for address in listening(process) if not ip_address(address).is_loopback} == set()
    kill(process)
    survived = folder.finished()
    process = folder.start()
    # Not before the new driver has begun, or the signal would meet Python's own start.
    wait_until(lambda: "Ray dashboard" in folder.output(), process)
    wait_until(lambda: len(folder.finished()) > len(survived), process)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=PATIENCE) == 130, folder.output()
    assert "what is done is kept" in folder.output()
    code, output = folder.run()
    assert code == 0, output
    for kind, name in survived:  # no finished trial ran again
        tries = attempts(folder.store.folder(kind, name))
        assert [attempt["outcome"] for attempt in tries].count("done") == 1
    assert folder.results() == undisturbed.results()


def test_a_failure_blocks_its_dependents_and_nothing_else(undisturbed: Folder, tmp_path: Path) -> None:
    shutil.copytree(undisturbed.path / "results/store", tmp_path / "results/store")
    folder = Folder(tmp_path, GRID.read_text())
    labels = folder.labels()
    metric = next(label.spec for label in labels if label.role == "metric" and label.loss == "convnext")
    weights = folder.store.folder("fr_iqa", key(metric)) / "weights/metric.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(bytes(len(whole)))
    record = weights.parents[1] / "record.json"
    written = record.read_text()
    lie = written.replace(hashlib.sha256(whole).hexdigest(), sha256(weights))  # as if so written
    record.write_text(lie)
    record.with_name("DONE").write_text(done("done", lie))
    lost = [label for label in labels if label.role == "optimization" and label.loss == "convnext"]
    for kind in ("super_resolution", "restoration", "judging", "iqa_transfer", "benchmark"):
        shutil.rmtree(folder.store.root / kind)
    code, output = folder.run()
    assert code == 1, output
    for label in lost:
        trial = folder.store.folder("super_resolution", key(label.spec))
        assert f"failed: super_resolution {trial.name}" in output
        assert "not readable as safetensors" in (trial / "FAILED").read_text()
        outcomes = [attempt["outcome"] for attempt in attempts(trial)]
        assert outcomes == ["started", "error"] * 2  # once and max_failures more
    assert "blocks" in output
    assert folder.store.status("super_resolution", key(next(x for x in labels if x.loss == "pixel").spec)) == "done"
    missing = (tmp_path / "results/micro/tables/missing.csv").read_text()
    assert key(lost[0].spec) in missing
    weights.write_bytes(whole)
    record.write_text(written)
    record.with_name("DONE").write_text(done("done", written))
    code, output = folder.run()
    assert code == 0, output
    assert folder.results() == undisturbed.results()


def test_a_trial_by_hand_equals_the_same_trial_under_ray(undisturbed: Folder, tmp_path: Path) -> None:
    labels = undisturbed.labels()
    trial = next(
        x.spec for x in labels if x.role == "optimization" and "patch" in x.discriminator and x.loss == "vgg-r"
    )
    folder = undisturbed.store.folder(trial.KIND, key(trial))
    given = [
        f"--input={role}={undisturbed.store.folder(parent.KIND, key(parent))}" for role, parent in specs.parents(trial)
    ]
    code, output = undisturbed.run("workers", str(folder / "spec.json"), str(tmp_path / "out"), *given)
    assert code == 0, output
    for file in sorted(path.relative_to(folder) for path in (folder / "weights").iterdir()):
        assert sha256(tmp_path / "out" / file) == sha256(folder / file)
    assert sha256(tmp_path / "out/curves.parquet") == sha256(folder / "curves.parquet")


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")  # MLflow's own use of SQLAlchemy
def test_mlflow_mirrors_trials_curves_evaluations_and_weights(undisturbed: Folder) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{undisturbed.path}/results/mlflow.db")
    experiment = client.get_experiment_by_name("micro")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id], max_results=1000)}
    parent = runs["sweep micro"]
    trained = [address for address in undisturbed.finished() if address[0] in specs.TRAINING_KINDS]
    children = [r for r in runs.values() if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted(run.data.tags["key"] for run in children) == sorted(name for _, name in trained)
    assert parent.info.status == "FINISHED"
    assert "bicubic/natural/psnr" in parent.data.metrics
    optimized = runs["optimize vgg-r under patch-convnext-pretext, seed 0"]
    record = undisturbed.store.record("super_resolution", optimized.data.tags["key"])
    assert optimized.data.metrics["validation_psnr"] == pytest.approx(record["numbers"]["validation_psnr"])
    assert optimized.data.params["training.steps"] == "3"
    assert {"natural/piqe", "natural/psnr"} <= optimized.data.metrics.keys()
    assert client.get_metric_history(optimized.info.run_id, "curve/loss")
    assert {"srcc", "krcc", "plcc"} <= {
        name.removeprefix("ladder/") for name in runs["metric vgg-r, seed 0"].data.metrics if name.startswith("ladder/")
    }
    assert {file.path for file in client.list_artifacts(optimized.info.run_id, "weights")} == {
        "weights/backbone.safetensors",
        "weights/generator.safetensors",
    }


def test_the_record_says_where_a_result_comes_from(undisturbed: Folder) -> None:
    labels = undisturbed.labels()
    trial = next(label.spec for label in labels if label.role == "judging" and label.loss == "pixel")
    folder = undisturbed.store.folder(trial.KIND, key(trial))
    record = json.loads((folder / "record.json").read_text())
    assert record["key"] == key(trial)
    assert record["digest"].startswith(record["key"])
    assert record["parents"]["restoration"]["key"] == key(trial.restoration)
    assert record["files"]["scores.parquet"] == sha256(folder / "scores.parquet")
    assert record["attempts"][-1]["outcome"] == "done"
    assert record["versions"]["pyiqa"] in trial.judge.version
    assert record["provenance"].keys() == {"git_commit", "git_dirty"}


def test_two_drivers_share_a_store_and_run_each_trial_once(undisturbed: Folder, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shared = GRID.read_text().replace("runtime: {", f"runtime: {{storage: {store}, ")
    other = shared.replace("name: micro", "name: other").replace("beside: [psnr]", "beside: [psnr, ssim]")
    folders = []
    for name, text in (("one", shared), ("two", other)):
        (tmp_path / name).mkdir()
        folders.append(Folder(tmp_path / name, text))
        folders[-1].store = Store(store)
    for process in [folder.start() for folder in folders]:
        assert process.wait(timeout=PATIENCE) == 0, "".join(folder.output() for folder in folders)
    one, two = ({(x.spec.KIND, key(x.spec)) for x in folder.labels()} for folder in folders)
    assert one < two <= folders[0].finished().keys()
    for kind, name in folders[0].finished():
        outcomes = [attempt["outcome"] for attempt in attempts(Store(store).folder(kind, name))]
        assert outcomes == ["started", "done"]
    results = folders[0].results()
    assert {name: results[name] for name in undisturbed.results()} == undisturbed.results()
    assert folders[0].tables() == undisturbed.tables()


def test_resources_that_no_node_has_are_told_instead_of_waited_for(tmp_path: Path) -> None:
    folder = Folder(tmp_path, GRID.read_text().replace("runtime: {", "runtime: {cpus: 4096, "))
    code, output = folder.run()
    assert code == 2
    assert "runtime: a trial reserves cpus: 4096 and gpus: 0, but the nodes have" in output
    assert "Traceback" not in output
    assert not folder.finished()


def test_a_new_mlflow_is_filled_from_the_store(undisturbed: Folder, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    def seen(database: Path) -> list[tuple[str, int]]:
        client = MlflowClient(f"sqlite:///{database}")
        runs = client.search_runs([client.get_experiment_by_name("micro").experiment_id], max_results=1000)
        report = [file.path for run in runs for file in client.list_artifacts(run.info.run_id) if "html" in file.path]
        assert report == ["report.html"]
        counts = [sum(not name.startswith(("live/", "system/")) for name in run.data.metrics) for run in runs]
        return sorted((run.info.run_name, count) for run, count in zip(runs, counts, strict=True))

    place = tmp_path / "new" / "mlflow.db"
    code, output = undisturbed.run("orchestrator", "mirror", "grid.yaml", "--tracking", str(place))
    planned = len(undisturbed.store.index())
    assert (code, output.strip()) == (0, f"{place}: {planned} of {planned} trials of micro")
    assert seen(place) == seen(undisturbed.path / "results/mlflow.db")
