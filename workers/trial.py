"""Runs one trial: the recipe for its kind, timed and measured, and the record of how it went."""

import contextlib
import platform
import socket
import time
from importlib import metadata
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from orchestrator import spec as specs
from workers import (
    benchmark,
    fr_iqa,
    iqa_transfer,
    judging,
    pretext,
    restoration,
    super_resolution,
    training,
)
from workers.context import Context, Result

PACKAGES = ("torch", "torchvision", "timm", "pyiqa", "numpy", "scipy")


def run(spec: specs.Trial, context: Context) -> dict[str, Any]:
    """Runs `spec` and returns its record: status, numbers, seconds, peak bytes, device, versions. Results lie in
    `context.out`. Raises Interrupted when the context asks to stop."""
    training.settle(spec.numerics)
    _reset_peak(context.device)
    started = time.perf_counter()
    result = _counted(spec, context) if context.count_flops else recipe(spec, context)
    return {
        "status": result.status,
        "note": result.note,
        "numbers": dict(result.numbers),
        "seconds": time.perf_counter() - started,
        "measured": dict(context.measured),
        "peak_bytes": peak_bytes(context.device),
        "device": device_name(context.device),
        "host": socket.gethostname(),
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}},
    }


def _counted(spec: specs.Trial, context: Context) -> Result:
    """Runs the recipe and counts its operations: a training's loop counts one step, all else is counted whole."""
    if hasattr(spec, "training"):
        return recipe(spec, context)
    with FlopCounterMode(display=False) as counter:
        result = recipe(spec, context)
    context.measured["flops"] = float(counter.get_total_flops())
    return result


def recipe(spec: specs.Trial, context: Context) -> Result:
    """The recipe of the spec's kind."""
    match spec:
        case specs.Pretext():
            return pretext.run(spec, context)
        case specs.FrIqa():
            return fr_iqa.run(spec, context)
        case specs.SuperResolution():
            return super_resolution.run(spec, context)
        case specs.Restoration():
            return restoration.run(spec, context)
        case specs.Judging():
            return judging.run(spec, context)
        case specs.IqaTransfer():
            return iqa_transfer.run(spec, context)
        case specs.Benchmark():
            return benchmark.run(spec, context)
    raise ValueError(f"no recipe for {type(spec).__name__}")


def peak_bytes(device: str) -> dict[str, int]:
    """Largest memory since the trial began: `host` resident bytes of this process, `device` bytes on a GPU."""
    found: dict[str, int] = {}
    with contextlib.suppress(OSError, StopIteration), open("/proc/self/status") as status:
        found["host"] = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
    if device.startswith("cuda"):
        found["device"] = torch.cuda.max_memory_reserved()  # what other trials on the GPU cannot have
    return found


def _reset_peak(device: str) -> None:
    # Writing 5 resets the kernel's high-water mark, which otherwise is that of all trials this process has run.
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as marks:
        marks.write("5")
    if device.startswith("cuda"):
        torch.cuda.empty_cache()  # of the trial before, in this process
        torch.cuda.reset_peak_memory_stats()


def device_name(device: str) -> str:
    """Readable name of the processor or GPU."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name()
    with contextlib.suppress(OSError, StopIteration), open("/proc/cpuinfo") as lines:
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()
