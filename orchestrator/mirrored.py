"""What of a trial goes into MLflow, and where: writing the mirror and restoring from it agree here.

A training trial is a run. Its spec, record and curves are artifacts in `trial/`, its weights in `weights/`; each
benchmark or judging of it has a folder `evaluations/<kind>/<key>/`. What bicubic restored belongs to the sweep's run.
A restoration is not mirrored: it is its images, which a trained generator makes again.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from orchestrator import spec as specs
from orchestrator.disk import write_atomic
from orchestrator.identity import canonical_json, spec_json

Weights = Literal["copy", "link", "none"]
"""What becomes of weights: copies among a run's artifacts, a tag with their place in the store, or nothing."""
FILES = ("spec.json", "scores.parquet", "curves.parquet", "record.json")
"""Of a trial's folder, those that are there; the record, which vouches for the others, last."""
TRIAL, EVALUATIONS, WEIGHTS, SWEEP = "trial", "evaluations", "weights", "sweep"
"""First folders of a run's artifacts; `sweep` is that of the parent run and holds the store's manifests.
`weights` is that of a trial's folder, too."""


def public(place: str, text: str = "") -> str:
    """The address of a mirror as it is shown, or a text that may have it: without a user's name and password."""
    user, at, _ = urlsplit(place).netloc.rpartition("@")
    return (text or place).replace(user + at, "") if at else text or place


def folder_of(kind: str, key: str) -> str:
    """Where a trial's files lie among the artifacts of its run, or of the run that it evaluates."""
    return TRIAL if kind in specs.TRAINING_KINDS else f"{EVALUATIONS}/{kind}/{key}"


def evaluated(trial: specs.Trial, numbers: dict[str, float]) -> tuple[specs.Trial | None, dict[str, float]]:
    """The trained trial that a benchmark or judging evaluates (None: bicubic, which nobody trained), and its numbers
    under the names of that trial's metrics, e.g. `<data set>/srcc` or `<test set>/<judge>`."""
    if isinstance(trial, specs.Benchmark):
        assert isinstance(trial.model, specs.Trial)
        return trial.model, {f"{trial.data.name}/{name}": value for name, value in numbers.items()}
    assert isinstance(trial, specs.Judging)
    assert isinstance(trial.restoration, specs.Restoration)
    generator, name = trial.restoration.super_resolution, f"{trial.test.name}/{trial.judge.metric}"
    if generator is None:
        return None, {f"bicubic/{name}": numbers["mean"]}
    assert isinstance(generator, specs.Trial)
    return generator, {name: numbers["mean"]}


def parameters(trial: specs.Trial) -> list[tuple[str, str]]:
    """(dotted name, value) of the trial's settings. MLflow holds at most 6,000 characters each: long lists are cut."""
    return [(name, text[:500]) for name, text in _flat(json.loads(spec_json(trial)))]


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _flat(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        yield path, " ".join(str(item.get("name", item)) for item in value)
    else:
        yield path, str(value)


def data_sets(trial: specs.Trial) -> list[tuple[str, str, str]]:
    """(name, digest, use) of the data that a training trains on and validates on."""
    found = []
    for use in ("train", "validation"):
        if (data := getattr(trial, use, None)) is not None:
            name = getattr(data, "name", "photographs")
            digest = getattr(data, "content", "") or hashlib.sha256(canonical_json(data, 64).encode()).hexdigest()
            found.append((str(name), digest, "training" if use == "train" else use))
    return found


def points(folder: Path, record: dict[str, Any]) -> list[tuple[str, float, int]]:
    """(metric, value, step) of a training trial: the numbers of its record, its seconds, its curves."""
    import pyarrow.parquet as pq

    curves = pq.read_table(folder / "curves.parquet").to_pylist() if (folder / "curves.parquet").exists() else []
    own = {**record["numbers"], "seconds": record["seconds"]}
    own |= {f"peak_bytes/{where}": float(size) for where, size in record.get("peak_bytes", {}).items()}
    numbers = [(name, value, 0) for name, value in own.items()]
    return numbers + [(f"curve/{row['name']}", row["value"], row["step"]) for row in curves]


def write_links(root: Path, experiment: str, links: dict[str, Any]) -> None:
    """Leaves in a store where MLflow shows its trials: `mlflow/<experiment>.json` with {"experiment": id, "runs": {key:
    run id}}, in which an evaluation has the run of what it evaluates. The page of a run is
    `#/experiments/<experiment>/runs/<run>`."""
    file = root / "mlflow" / f"{experiment}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, json.dumps(links, indent=1) + "\n")
