"""What docs/cluster.md hands out: `make submit` on a real cluster, the recipes as far as one machine can run them."""

import os
import re
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from orchestrator import grid
from orchestrator.grid import override
from tests.chaos.clusters import MANY, cluster
from tests.integration.sweeping import PATIENCE, ROOT, Folder

RECIPES = ROOT / "docs/cluster"
GRID = (ROOT / "tests/chaos/grid.yaml").read_text()
BIN = Path(sys.executable).parent


def run(*command: str | Path) -> str:
    """What a command prints."""
    ended = subprocess.run(command, env=os.environ | MANY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return ended.stdout


def test_submit_runs_a_sweep_as_a_job_of_the_cluster(tmp_path: Path) -> None:
    folder = Folder(tmp_path, GRID)
    for name in ("orchestrator", "workers"):  # the repository, as the nodes see it
        (tmp_path / name).symlink_to(ROOT / name)
    with cluster(2, dashboard=True) as nodes:
        settings = [
            f"CLUSTER={nodes.dashboard}",
            f"FOLDER={tmp_path}",
            "GRID=grid.yaml",
            f"BIN={BIN}",
            "STAMP=Makefile",
            "OPTIONS=-o 'seeds=[0, ]'",  # quotes and spaces reach the job as they are
        ]
        deadline = time.monotonic() + PATIENCE
        job, submitted = None, ""
        while not job:  # a cluster that has just started says that it has no agent yet
            assert time.monotonic() < deadline, submitted
            submitted = run("make", "-C", ROOT, "submit", *settings)
            job = re.search(r"raysubmit_\w+", submitted) if "submitted successfully" in submitted else None
        asked = [BIN / "ray", "job", "status", "--address", nodes.dashboard, job[0]]
        while f"'{job[0]}' succeeded" not in (told := run(*asked)):
            assert f"'{job[0]}' failed" not in told, told
            assert time.monotonic() < deadline
        logs = run(BIN / "ray", "job", "logs", "--address", nodes.dashboard, job[0])
        assert "Wrote results/micro/report.html" in logs
    assert {kind for kind, _ in folder.finished()} >= {"super_resolution", "iqa_transfer", "judging"}


def test_ray_up_fits_rays_schema_and_keeps_to_the_token() -> None:
    config = yaml.safe_load((RECIPES / "ray-up.yaml").read_text())
    validate_config(prepare_config(config))
    starts = [
        line for name in ("head", "worker") for line in config[f"{name}_start_ray_commands"] if "ray start" in line
    ]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token" in line for line in starts)
    assert "0.0.0.0" not in str(config)


def test_rayjob_gives_all_pods_the_same_storage_and_token_and_runs_a_sweep() -> None:
    secret, job = yaml.safe_load_all((RECIPES / "rayjob.yaml").read_text())
    spec = job["spec"]["rayClusterSpec"]
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert spec["rayVersion"] == metadata.version("ray")
    pods = [spec["headGroupSpec"]["template"]["spec"], *(one["template"]["spec"] for one in spec["workerGroupSpecs"])]
    containers = [one for pod in pods for one in pod["containers"]]
    for name in ("image", "env", "volumeMounts"):
        assert all(one[name] == containers[0][name] for one in containers)
    variables = {one["name"]: one for one in containers[0]["env"]}
    assert variables["RAY_AUTH_MODE"]["value"] == "token"
    asked = variables["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"]
    assert (asked["name"], asked["key"] in secret["stringData"]) == (secret["metadata"]["name"], True)
    claims = [{volume["name"] for volume in pod["volumes"]} for pod in pods]
    assert all(mount["name"] in claim for claim in claims for mount in containers[0]["volumeMounts"])
    settings = re.findall(r"-o (\S+=[^\s']+)", job["spec"]["entrypoint"])
    assert settings


def test_the_settings_of_the_rayjob_are_those_of_a_grid(tmp_path: Path, monkeypatch: object) -> None:
    _, job = yaml.safe_load_all((RECIPES / "rayjob.yaml").read_text())
    command = job["spec"]["entrypoint"]
    file = re.search(r"orchestrator sweep (\S+)", command)
    assert file
    os.environ.setdefault("DATA_ROOT", "/data")
    here = Path.cwd()
    os.chdir(tmp_path)
    try:
        made = override(ROOT / file[1], re.findall(r"-o (\S+=[^\s']+)", command))
        assert grid.load(made).runtime.storage == "/shared/store"
    finally:
        os.chdir(here)


SRUN = """#!/bin/sh
# Runs a command on this machine, as srun would on its nodes.
while [ "${1#--}" != "$1" ]; do shift; done
exec "$@"
"""


def test_slurm_starts_a_ray_sweeps_and_leaves_nothing(tmp_path: Path) -> None:
    """On a job of one node, with a srun that runs here."""
    folder = Folder(tmp_path, GRID)
    for name in ("orchestrator", "workers"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").symlink_to(BIN.parent)
    (tmp_path / "srun").write_text(SRUN)
    (tmp_path / "srun").chmod(0o755)
    slurm = {"SLURM_CPUS_ON_NODE": "2", "SLURM_JOB_ID": "4711", "SLURM_JOB_NUM_NODES": "1", "SLURM_GPUS_ON_NODE": "0"}
    environment = os.environ | MANY | slurm | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = [RECIPES / "slurm.sh", "grid.yaml", "-o", "runtime.checkpoint_seconds=60"]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Wrote results/micro/report.html" in ended.stdout
    assert len(folder.finished()) == len(folder.store.index()) > 0
