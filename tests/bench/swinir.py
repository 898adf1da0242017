"""A training step of SwinIR (forward, backward, Adam) against the reference architecture with equal weights."""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from spandrel.architectures.SwinIR import SwinIR as Reference
from torch import Tensor, nn

from orchestrator import spec
from orchestrator.grid import load
from orchestrator.sections.training import GENERATORS
from tests.bench.paired import HEADER, alternate
from workers.losses.calibration import Terms
from workers.models.swinir import SwinIR
from workers.super_resolution import train_step
from workers.training import autocast, settle

SCALE = 4
# name: (images, side of a low-resolution patch, rounds)
CASES = {
    "cpu": {"demo": (8, 16, 25), "light": (2, 48, 7), "medium": (1, 48, 3)},
    "cuda": {"demo": (8, 16, 25), "light": (16, 64, 15), "medium": (16, 64, 15)},
}
TARGET = {"cpu": "1.0, as low as can be", "cuda": "0.6 for medium"}


def report(device: str) -> str:
    """A row a size. In a process with a trial's environment: glibc reads it once, when a process starts."""
    from orchestrator.cluster import WORKER_ENVIRONMENT

    environment = {**os.environ, **WORKER_ENVIRONMENT}
    command = [sys.executable, "-m", "tests.bench.swinir", device]
    found = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    return str(json.loads(found.stdout.splitlines()[-1]))


def measured(device: str) -> str:
    """The rows, measured here."""
    kind = torch.device(device).type
    numerics: spec.Numerics = "reference" if kind == "cpu" else "fast"
    settle(numerics)
    lines = [
        f"The recipe's own step with the pixel loss, `numerics: {numerics}` and one CPU thread on both sides; the "
        "other is spandrel's SwinIR. `error` is the relative difference of their first outputs.",
        "",
        HEADER,
    ]
    for name, (images, patch, rounds) in CASES[kind].items():
        ours, reference = models(name, patch, device)
        low, high = (torch.rand(images, 3, side, side, device=device) for side in (patch, patch * SCALE))
        error = difference(ours, reference, low)
        steps = (step(model, low, high, numerics, device) for model in (ours, reference))
        what = f"SwinIR {name}, {images} of {patch} px, error {error:.0e}"
        lines.append(alternate(*steps, rounds=rounds, device=device).row(what, TARGET[kind]))
    note = "" if kind == "cuda" else "\n\nGPU (target: at most 0.6 for medium): not measured, no GPU."
    return "\n".join(lines) + note


def models(name: str, patch: int, device: str) -> tuple[SwinIR, nn.Module]:
    """Ours and the reference, with the weights of ours."""
    sizes = settings(name)
    ours = SwinIR(SCALE, sizes)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.meshgrid")  # without `indexing`, in spandrel's code
        reference: nn.Module = Reference(
            img_size=patch,
            embed_dim=sizes.channels,
            depths=list(sizes.depths),
            num_heads=list(sizes.heads),
            window_size=sizes.window,
            mlp_ratio=sizes.mlp_ratio,
            upscale=SCALE,
            upsampler=sizes.upsampler,
            resi_connection=sizes.residual,
            drop_path_rate=0.0,
        )
    ours.load_state_dict(reference.state_dict())
    return ours.to(device), reference.to(device)


def settings(name: str) -> spec.SwinIR:
    """Of the demo's generator, or of an official size."""
    if name == "demo":
        return load(Path("grids/demo.yaml")).super_resolution.generator
    sizes: dict[str, Any] = GENERATORS[f"swinir-{name}"]
    return spec.SwinIR(**{key: tuple(value) if isinstance(value, list) else value for key, value in sizes.items()})


@torch.no_grad()
def difference(ours: nn.Module, reference: nn.Module, low: Tensor) -> float:
    """Relative, of the outputs."""
    found, expected = ours(low), reference(low)
    return float((found - expected).norm() / expected.norm())


def step(model: Any, low: Tensor, high: Tensor, numerics: spec.Numerics, device: str) -> Callable[[], dict[str, float]]:
    """One training step of `model`."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, betas=(0.9, 0.99), fused=isinstance(model, SwinIR))
    terms = Terms(None, None)
    terms.set({"pixel": 1.0}, {})
    return lambda: train_step(model, optimizer, terms, low, high, autocast(numerics, device))


if __name__ == "__main__":
    print(json.dumps(measured(sys.argv[1])))
