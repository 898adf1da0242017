"""Machinery checks: that the trials of a sweep did real work, judged on validation data alone.

They say nothing about the study's findings; those are reported from test data and never required.
"""

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Check:
    """One check: what was asked, whether it held, and the figures."""

    name: str
    passed: bool
    detail: str


def machinery(records: Iterable[Mapping[str, Any]]) -> list[Check]:
    """Checks over the records of a sweep's finished training trials. A check without any trial is left out."""
    by_kind: dict[str, list[Mapping[str, float]]] = {"warm-up": [], "fr_iqa": [], "iqa_transfer": []}
    for record in records:
        warmup = record["kind"] == "super_resolution" and "start" not in record["parents"]
        kind = "warm-up" if warmup else record["kind"]
        if kind in by_kind and record["status"] == "done":
            by_kind[kind].append(record["numbers"])
    checks = (_warmup(by_kind["warm-up"]), _metrics(by_kind["fr_iqa"]), _iqa_models(by_kind["iqa_transfer"]))
    return [check for check in checks if check]


def _warmup(numbers: list[Mapping[str, float]]) -> Check | None:
    if not numbers:
        return None
    gains = [n["validation_psnr"] - n["validation_psnr_bicubic"] for n in numbers]
    detail = ", ".join(f"{n['validation_psnr']:.2f} dB against {n['validation_psnr_bicubic']:.2f} dB" for n in numbers)
    return Check("the warm-up beats bicubic (validation PSNR)", min(gains) > 0, detail)


def _metrics(numbers: list[Mapping[str, float]]) -> Check | None:
    if not numbers:
        return None
    # Of the last iteration: the kept weights are the best on the same data, uniform ones among them.
    fitted = statistics.fmean(n["validation_srcc_last"] for n in numbers)
    uniform = statistics.fmean(n["validation_srcc_uniform"] for n in numbers)
    detail = f"{fitted:.3f} against {uniform:.3f}, mean of {len(numbers)} metrics"
    return Check("fitted metrics beat uniform weights (mean validation SRCC)", fitted > uniform, detail)


def _iqa_models(numbers: list[Mapping[str, float]]) -> Check | None:
    if not numbers:
        return None
    better = [n["validation_mse"] < n["validation_mse_constant"] for n in numbers]
    worst = max(n["validation_mse"] / n["validation_mse_constant"] for n in numbers)
    last = sum(n["validation_mse_last"] < n["validation_mse_constant"] for n in numbers)
    detail = (
        f"{sum(better)} of {len(better)} models, the worst at {worst:.2f} of the constant's error; "
        f"{last} at their last step, which nothing selected"
    )
    return Check("every IQA model beats a constant (validation error)", all(better), detail)
