"""Runs one spec by hand: `python -m workers SPEC.json OUT/ --input role=FOLDER`. Needs neither Ray nor MLflow."""

import argparse
import json
import shutil
import sys
from pathlib import Path

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
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    options = parser.parse_args(arguments)
    try:
        data = json.loads(options.spec.read_text())
        spec = specs.decode(data)
        inputs = _inputs(spec, options.input)
    except (OSError, ValueError) as error:
        print(f"{options.spec}: {error}", file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    from workers import trial

    context = Context(inputs, options.out, key=data.get("key", ""), device=options.device, report=_print_progress)
    record = trial.run(spec, context)
    (options.out / "spec.json").write_text(options.spec.read_text())
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
    wanted = [role for role, _ in specs.parents(spec)]
    missing, strange = [role for role in wanted if role not in inputs], [role for role in inputs if role not in wanted]
    if missing or strange:
        raise ValueError(f"--input: missing {missing}, not of this trial {strange}; its roles are {wanted}")
    for role, folder in inputs.items():
        if not folder.is_dir():
            raise ValueError(f"--input {role}: {folder} is not a folder")
    return inputs


def _print_progress(step: int, steps: int, values: object) -> None:
    print(f"step {step} of {steps}: {values}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
