"""Per-channel statistics of a data set under a frozen backbone: what a metric is fitted on.

l and s of a pair depend on the backbone alone, never on alpha and beta. They are computed in one pass and kept, once
for each (backbone, weights, data set), in the node's cache: another fit, or a seed with equal weights, reads them.
"""

import hashlib
import os
import uuid
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from orchestrator.spec import FrIqa, IqaData
from workers.context import Context
from workers.data.iqa_sets import IqaSet, open_set
from workers.losses.dists import channel_statistics
from workers.models.backbones import Backbone
from workers.predictions import by_reference
from workers.resuming import Steps

VERSION = 2
"""Raised by hand when l or s of a pair change: tables of before are then not found any more."""


@dataclass(frozen=True)
class Table:
    """l and s of every pair of a set, and the set."""

    data: IqaSet
    luminance: Tensor
    """(N, C)."""
    structure: Tensor
    """(N, C)."""

    @property
    def quality(self) -> Tensor:
        """(N,), higher is better."""
        return torch.from_numpy(self.data.quality.copy())


def table(backbone: Backbone, spec: FrIqa, data: IqaData, context: Context) -> Table:
    """The table of `data` under `backbone`, which is built from `spec` and in evaluation mode; computed once a node."""
    opened, address = open_set(data, context.sources), _address(spec, data)
    file = context.sources.cache / "statistics" / f"{address}.npy"
    try:  # mapped, not read: the fit takes what it needs. Copy on write, because torch wants writable memory
        values = np.load(file, mmap_mode="c")
    except (FileNotFoundError, ValueError, EOFError):  # or cut short
        _write(file, _statistics(backbone, opened, context, address).numpy())
        values = np.load(file, mmap_mode="c")
    luminance, structure = torch.from_numpy(values).chunk(2, 1)
    return Table(opened, luminance, structure)


def quality_of(table: Table, alpha: Tensor, beta: Tensor) -> np.ndarray:
    """-D of each pair under these weights, (N,) float64: what `Dists` computes from images."""
    distance = (1 - table.luminance).double() @ alpha.double() + (1 - table.structure).double() @ beta.double()
    quality: np.ndarray = (-distance).numpy()
    return quality


class Rows:
    """[l, s] of all pairs, (N, 2C) float32 on the CPU, as far as they are computed."""

    def __init__(self, pairs: int, channels: int) -> None:
        self.values = torch.zeros(pairs, 2 * channels)

    def state_dict(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        return {"values": self.values}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """From a checkpoint."""
        self.values.copy_(state["values"])


@torch.no_grad()
def _statistics(backbone: Backbone, data: IqaSet, context: Context, address: str = "") -> Tensor:
    """[l, s] of all pairs, (N, 2C) float32 on the CPU. The features of a reference, which many pairs share, are not
    computed for each of them: that would be half of the work."""
    rows = Rows(len(data), 3 + sum(backbone.channels))
    which = partial(Steps, context, parts={"rows": rows}, of=address)
    for indices, reference, distorted in by_reference(data, context.device, which):
        rows.values[indices] = torch.cat(channel_statistics(backbone, distorted, reference), 1).cpu()
    return rows.values


def _address(spec: FrIqa, data: IqaData) -> str:
    """What the table follows from. Specs are frozen dataclasses of plain values: their repr says all of them."""
    parts = (VERSION, spec.backbone, spec.weights, data, spec.numerics)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _write(file: Path, values: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(f".{uuid.uuid4().hex}.writing")  # nodes may share the folder, and numbers of processes
    with open(temporary, "wb") as opened:
        np.save(opened, values)
        opened.flush()
        os.fsync(opened.fileno())
    os.replace(temporary, file)  # two trials that compute the same table write the same bytes
