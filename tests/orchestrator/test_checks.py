"""Machinery checks on validation data alone."""

from typing import Any

from orchestrator.checks import machinery


def record(kind: str, numbers: dict[str, float], status: str = "done", **parents: Any) -> dict[str, Any]:
    return {"kind": kind, "status": status, "parents": parents, "numbers": numbers}


def warmup(psnr: float) -> dict[str, Any]:
    return record("super_resolution", {"validation_psnr": psnr, "validation_psnr_bicubic": 24.0})


def metric(fitted: float, uniform: float) -> dict[str, Any]:
    return record("fr_iqa", {"validation_srcc_last": fitted, "validation_srcc_uniform": uniform})


def model(error: float) -> dict[str, Any]:
    return record(
        "iqa_transfer", {"validation_mse": error, "validation_mse_last": error + 0.6, "validation_mse_constant": 2.0}
    )


def test_nothing_to_look_at_is_no_check() -> None:
    assert machinery([]) == []
    assert machinery([record("pretext", {})]) == []


def test_all_hold_with_their_figures() -> None:
    checks = machinery([warmup(24.3), metric(0.8, 0.7), metric(0.6, 0.65), model(1.0), model(1.5)])
    assert [check.passed for check in checks] == [True, True, True]
    assert checks[0].detail == "24.30 dB against 24.00 dB"
    assert checks[1].detail == "0.700 against 0.675, mean of 2 metrics"
    assert checks[2].detail == (
        "2 of 2 models, the worst at 0.75 of the constant's error; 1 at their last step, which nothing selected"
    )


def test_each_fails_on_its_own() -> None:
    assert [check.passed for check in machinery([warmup(24.0), metric(0.8, 0.7), model(1.0)])] == [False, True, True]
    assert [check.passed for check in machinery([warmup(25.0), metric(0.7, 0.7), model(1.0)])] == [True, False, True]
    worst = machinery([warmup(25.0), metric(0.8, 0.7), model(1.0), model(2.5)])
    assert [check.passed for check in worst] == [True, True, False]
    assert worst[2].detail.startswith("1 of 2 models, the worst at 1.25 of the constant's error")


def test_only_the_warm_up_and_only_finished_trials_count() -> None:
    optimized = record("super_resolution", {"validation_psnr": 1.0, "validation_psnr_bicubic": 9.0}, start={"key": "a"})
    diverged = record("iqa_transfer", {}, status="diverged")
    (check,) = machinery([optimized, diverged, warmup(25.0)])
    assert check.passed
