"""Runs one spec by hand: `python -m workers SPEC.json OUT/ --input role=FOLDER`. Needs neither Ray nor MLflow."""

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from orchestrator import spec as specs
from workers.context import Context


def main(arguments: list[str] | None = None) -> int:
    """Returns 0 when the trial ran (done or diverged), 2 when the spec or an input cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m workers", description="Runs one trial by hand.")
    parser.add_argument("spec", type=Path, help="a spec.json, e.g. one of a finished trial in the store")
    parser.add_argument("out", type=Path, help="folder for the results; a checkpoint in it is resumed")
    parser.add_argument(
        "--input", action="append", default=[], metavar="ROLE=FOLDER", help="a finished parent's folder"
    )
    parser.add_argument("--sources", type=Path, help="the store's sources.json: where data sets and weights lie")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    options = parser.parse_args(arguments)
    try:
        data = _read(options.spec)
        spec = specs.decode(data)
        inputs = _inputs(spec, options.input)
        _take(options.out, options.spec)
    except (OSError, ValueError) as error:
        print(f"{options.spec}: {error}", file=sys.stderr)
        return 2
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic cuBLAS, read when CUDA starts
    from workers import sources, trial
    from workers.weights import UnusableWeights

    context = Context(
        inputs,
        options.out,
        key=data.get("key", ""),
        device=options.device,
        sources=sources.read(options.sources) if options.sources else sources.Sources(),
        report=_print_progress,
    )
    try:
        record = trial.run(spec, context)
    except UnusableWeights as error:
        print(error, file=sys.stderr)
        return 2
    (options.out / "record.json").write_text(json.dumps(record, indent=1) + "\n")
    shutil.rmtree(options.out / "checkpoint", ignore_errors=True)
    print(f"{record['status']} in {record['seconds']:.1f} s: {json.dumps(record['numbers'])}")
    return 0


def _inputs(spec: specs.Trial, given: list[str]) -> dict[str, Path]:
    """Folder of each parent. ValueError for a role that is missing or that the trial does not have."""
    inputs = {}
    for text in given:
        role, _, path = text.partition("=")
        inputs[role] = Path(path)
    wanted = dict(specs.parents(spec))
    lacks, strange = (
        ", ".join(a for a in one if a not in other) for one, other in ((wanted, inputs), (inputs, wanted))
    )
    if lacks or strange:
        needed = ", ".join(f"{role}=FOLDER of {parent.kind} {parent.key}" for role, parent in wanted.items())
        faults = "; ".join([f"missing {lacks}"] * bool(lacks) + [f"not of this trial: {strange}"] * bool(strange))
        raise ValueError(f"--input: {faults}; it takes {needed or 'none'}")
    for role, folder in inputs.items():
        _check_parent(role, folder, wanted[role])
    return inputs


def _check_parent(role: str, folder: Path, wanted: specs.Parent) -> None:
    """ValueError unless `folder` holds the trial that the spec names: another one would run, and mean nothing."""
    expected = f"{wanted.kind} {wanted.key}"
    if not folder.is_dir():
        raise ValueError(f"--input {role}: {folder} is not a folder; give that of {expected}")
    try:
        found, status = _read(folder / "spec.json"), _read(folder / "record.json").get("status")
    except (OSError, ValueError):
        raise ValueError(f"--input {role}: {folder} holds no finished trial; give the folder of {expected}") from None
    if (found.get("kind"), found.get("key")) != (wanted.kind, wanted.key):
        held = f"{found.get('kind')} {found.get('key')}"
        raise ValueError(f"--input {role}: {folder} holds {held}; give the folder of {expected}")
    if status != "done":
        raise ValueError(f"--input {role}: {folder} ended as {status}; a {expected} that is done is needed")


def _take(out: Path, spec: Path) -> None:
    """Makes the folder for the results and puts the spec in it. ValueError when it holds another trial, whose
    checkpoint would be taken for this one's."""
    out.mkdir(parents=True, exist_ok=True)
    held = out / "spec.json"
    if held.exists() and held.read_text() != spec.read_text():
        raise ValueError(f"{out} holds another trial; give an empty folder for the results")
    held.write_text(spec.read_text())


def _read(file: Path) -> dict[str, Any]:
    """A JSON object. ValueError for anything else."""
    data = json.loads(file.read_text())
    if not isinstance(data, dict):
        raise ValueError(f"found JSON of type {type(data).__name__}; a trial's spec.json holds an object")
    return data


def _print_progress(step: int, steps: int, values: object) -> None:
    print(f"step {step} of {steps}: {values}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
