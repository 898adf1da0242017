"""DISTS on VGG-16 as a loss, forward and backward, against pyiqa's with equal weights: time and peak memory."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pyiqa.archs.dists_arch as pyiqa_dists
import torch
from timm.models.vgg import VGG, cfgs
from torch import Tensor
from torchvision.models.vgg import make_layers

from tests.bench.paired import HEADER, Paired, alternate
from workers.losses.dists import Dists, with_l2_pooling
from workers.models.backbones import build
from workers.training import settle

# images, side in pixels, rounds
CASES = {"cpu": ((4, 64, 15), (2, 192, 7)), "cuda": ((16, 256, 25),)}
TARGET = "0.7"
Distance = Callable[[Tensor, Tensor], Tensor]


def report(device: str) -> str:
    """Two rows a size of image."""
    kind = torch.device(device).type
    settle("reference" if kind == "cpu" else "fast")
    lines = [
        "D(x, y) on VGG-16 with random weights (on which the cost does not depend), and its gradient by x. "
        "Memory: what a first pass adds to the " + ("process's resident memory" if kind == "cpu" else "GPU's memory")
        + ", each side in a process of its own.",
        "",
        HEADER,
    ]  # fmt: skip
    for images, side, rounds in CASES[kind]:
        ours, other = pair(device)
        x, y = inputs(images, side, device)
        with torch.no_grad():
            error = float((ours(x, y) - other(x, y).flatten()).abs().max())
        what = f"DISTS, {images} of {side} px"
        passes = (one_pass(distance, x, y) for distance in (ours, other))
        lines.append(alternate(*passes, rounds=rounds, device=device).row(f"{what}, error {error:.0e}", TARGET))
        bytes_of = [peak(name, images, side, device) for name in ("ours", "pyiqa")]
        lines.append(Paired([bytes_of[0]], [bytes_of[1]]).row(f"{what}, peak memory", TARGET, "MB"))
    note = "" if kind == "cuda" else "\n\nGPU: not measured, no GPU."
    return "\n".join(lines) + note


def pair(device: str) -> tuple[Dists, Distance]:
    """Ours and pyiqa's, whose released weights cannot be had offline, with the same random ones."""
    backbone = build("timm/vgg16.tv_in1k", seed=0)
    assert isinstance(backbone.network, VGG)
    features = make_layers(list(cfgs["vgg16"]), batch_norm=False)
    features.load_state_dict(backbone.network.features.state_dict())
    with mock.patch.object(pyiqa_dists.models, "vgg16", return_value=SimpleNamespace(features=features)):
        other: Any = pyiqa_dists.DISTS(pretrained=False).eval().to(device)
    weights = torch.cat((other.alpha, other.beta)).detach().flatten()
    return Dists(with_l2_pooling(backbone), *(weights / weights.sum()).chunk(2)).to(device), other


def inputs(images: int, side: int, device: str) -> tuple[Tensor, Tensor]:
    """x, of which the gradient is wanted, and y."""
    x, y = torch.rand(2, images, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    return x.requires_grad_(), y


def one_pass(distance: Distance, x: Tensor, y: Tensor) -> Callable[[], Tensor]:
    """Forward and backward."""
    return lambda: torch.autograd.grad(distance(x, y).sum(), x)[0]


# ----------------------------------------------------------------------------------------------------- memory


def peak(name: str, images: int, side: int, device: str) -> int:
    """Bytes that one pass of `name` (ours or pyiqa) adds at its peak, in a new process, whose glibc gives each block of
    64 KiB or more back when it is freed: what is resident is then in use."""
    command = [sys.executable, "-m", "tests.bench.dists", name, str(images), str(side), device]
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(1 << 16)}
    found = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    return int(found.stdout.splitlines()[-1])


def added(name: str, images: int, side: int, device: str) -> int:
    """The same, here. A pass over small images goes ahead, for what is built lazily."""
    settle("reference" if device == "cpu" else "fast")
    distance: Distance = pair(device)[name == "pyiqa"]
    one_pass(distance, *inputs(1, 32, device))()
    work = one_pass(distance, *inputs(images, side, device))
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5")  # forgets the highest resident size so far (Linux, proc(5))
    before = resident("VmRSS")
    work()
    return resident("VmHWM") - before


def resident(field: str) -> int:
    """Bytes of VmRSS (now) or VmHWM (at most) of this process."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


if __name__ == "__main__":
    print(added(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
