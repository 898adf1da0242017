"""What a trial costs. Pure: specs, measurements and manifests in, seconds and bytes out.

A trial's cost is a rate of its *shape* (kind and architectures, no sizes) times its *work* (pixels that pass through
its networks). Rates come from finished trials of the grid's own store, else from a rehearsal (rehearse.py), else from a
table of orders of magnitude. A rehearsal on a CPU knows operations, not seconds on a GPU: those are a range.
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from orchestrator.spec import (
    Benchmark,
    FrIqa,
    IqaTransfer,
    Judging,
    Pretext,
    RandomWeights,
    ReleasedWeights,
    Restoration,
    SuperResolution,
    Trial,
)
from orchestrator.work import Work

# Seconds for a million pixels on one core of a 2020s server with the demo's small networks: an order of magnitude that
# serves the queue until trials are measured.
SECONDS_PER_MEGAPIXEL = {"pretext": 1.0, "super_resolution": 4.0, "iqa_transfer": 2.0}
SECONDS_AT_LEAST = 0.3

SUSTAINED_FLOPS = (4e12, 40e12)
"""Operations a second that a data-centre GPU of the 2020s sustains in such trainings, low and high. An assumption
(docs/cost.md says from what), used only until a rehearsal on the GPU itself has measured seconds."""


Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def shape(spec: Trial) -> str:
    """Name of the group of trials that share their architectures: kind, models and settings of losses, no sizes."""
    match spec:
        case Pretext():
            return f"pretext {spec.backbone.model}"
        case FrIqa():
            return f"fr_iqa {spec.backbone.model} from {_source(spec.weights)}"
        case SuperResolution():
            return _super_resolution_shape(spec)
        case IqaTransfer():
            settings = spec.training
            how = f"{settings.features} {settings.head} {settings.loss}"
            return f"iqa_transfer {spec.task} {spec.backbone.model} from {_source(spec.weights)} ({how})"
        case Restoration():
            by = spec.super_resolution
            how = _sizes(by.generator) if isinstance(by, SuperResolution) else "bicubic"
            return f"restoration {spec.test.name} by {how}"
        case Judging():
            return f"judging {spec.judge.metric} {spec.test.name}"
        case Benchmark():
            model = spec.model
            what = shape(model).partition(" from ")[0] if isinstance(model, Trial) else "model"
            return f"benchmark {spec.data.name} of {what}"
    return spec.KIND


def _super_resolution_shape(spec: SuperResolution) -> str:
    loss = "pixel"
    if isinstance(spec.loss, FrIqa):
        loss = f"{spec.loss.backbone.model} from {_source(spec.loss.weights)}"
    if spec.loss is None and spec.start is None:
        loss = "warm-up"
    elif isinstance(spec.start, ReleasedWeights):
        loss = "official checkpoint"
    against = "none"
    if (own := spec.discriminator) is not None:
        how = f"{own.loss}, r1 {own.r1:g}, augment {'+'.join(own.augment) or 'none'}"
        against = f"{own.head} {own.backbone.model} from {_source(own.weights)} ({how})"
    return f"super_resolution {_sizes(spec.generator)} x{spec.scale}, {loss} under {against}"


def _sizes(generator: Any) -> str:
    return f"swinir {generator.channels}x{sum(generator.depths)}"


def _source(weights: Any) -> str:
    """Where weights come from, in the words of a grid."""
    kind = type(weights)
    return {RandomWeights: "random", ReleasedWeights: "released", Pretext: "pretext"}.get(kind, "gan")


@dataclass(frozen=True, kw_only=True)
class Rate:
    """What a rehearsed trial of a shape cost."""

    seconds: Amount
    """For each pixel of work, on the machine of the rehearsal; 0 where it was not timed apart from the overhead."""
    step: Amount
    """Seconds of a step of the rehearsal, at its sizes; 0 for what has no steps."""
    overhead: Amount
    """Seconds that do not grow with the work: building and loading networks, or a whole trial on a tiny data set."""
    flops: Amount
    """Operations (of matrix products and convolutions) for each pixel of work."""
    bytes: Amount
    """On disk, for each pixel of work for images, else for a trial."""
    peak_bytes: Mapping[str, int]


@dataclass
class Rehearsed:
    """Rates by shape, as `cost.json` holds them."""

    rates: dict[str, Rate] = field(default_factory=dict)
    device: str = ""
    gpu_bytes: int = 0
    """Memory of the GPU of the rehearsal; 0: it was made on a CPU."""

    @classmethod
    def from_json(cls, content: bytes | str) -> "Rehearsed":
        """Back from the text of `to_json`. ValueError where it is not that."""
        return TypeAdapter(cls).validate_json(content)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        rates = {name: {**vars(rate), "peak_bytes": dict(rate.peak_bytes)} for name, rate in self.rates.items()}
        return {"device": self.device, "gpu_bytes": self.gpu_bytes, "rates": rates}

    def gpu_seconds(self, spec: Trial, work: float) -> tuple[float, float] | None:
        """(least, most) seconds on a GPU: measured there, or a range from operations; None for an unknown shape."""
        rate = self.rates.get(shape(spec))
        if rate is None:
            return None
        if self.gpu_bytes and rate.seconds:
            seconds = rate.overhead + rate.seconds * work
            return seconds, seconds
        slow, fast = SUSTAINED_FLOPS
        return rate.overhead + rate.flops * work / fast, rate.overhead + rate.flops * work / slow


class Costs:
    """Seconds of trials: of finished ones of the same shape, else rehearsed, else estimated."""

    def __init__(
        self, work: Work, rehearsed: Rehearsed | None = None, gpus: Callable[[str], float] = lambda kind: 1.0
    ) -> None:
        """`gpus` says how many a trial of a kind reserves: without any it computes on the CPU."""
        self.work, self.rehearsed, self.gpus = work, rehearsed or Rehearsed(), gpus
        self.measured: dict[str, float] = {}
        """Seconds for each pixel of work, by shape."""
        self.peaks: dict[str, int] = {}
        """Most bytes on a GPU of a finished trial, by shape."""

    def learn(self, finished: Iterable[tuple[Trial, Callable[[], Mapping[str, Any]]]], most: int = 5) -> None:
        """Takes at most `most` records of each shape; a record is read only when it is needed."""
        rates: dict[str, list[float]] = defaultdict(list)
        for spec, record in finished:
            group, work = rates[shape(spec)], self.work.of(spec)
            if len(group) < most and work:
                try:
                    found = record()
                    group.append(float(found["seconds"]) / work)
                    if peak := int(found.get("peak_bytes", {}).get("device", 0)):
                        self.peaks[shape(spec)] = max(peak, self.peaks.get(shape(spec), 0))
                except (AttributeError, OSError, KeyError, TypeError, ValueError):
                    continue  # a damaged record costs an estimate, not the plan
        self.measured |= {name: statistics.median(values) for name, values in rates.items() if values}

    def peak(self, spec: Trial) -> int | None:
        """Bytes on a GPU that trials like `spec` have needed. Of a rehearsal only trainings count: their batches and
        crops are the grid's own, while all else grows with images that stand-ins do not have. None: nobody knows."""
        name = shape(spec)
        rate = self.rehearsed.rates.get(name) if hasattr(spec, "training") else None
        known = {self.peaks.get(name, 0), rate.peak_bytes.get("device", 0) if rate else 0}
        return max(known) or None

    def seconds(self, spec: Trial) -> float:
        """Expected seconds of `spec`."""
        work, name = self.work.of(spec), shape(spec)
        if name in self.measured:
            return self.measured[name] * work
        rate = self.rehearsed.rates.get(name)
        if rate and not self.gpus(spec.KIND) and not self.rehearsed.gpu_bytes:
            return rate.overhead + rate.seconds * work
        if (bounds := self.rehearsed.gpu_seconds(spec, work)) is not None:
            return math.sqrt(bounds[0] * bounds[1])
        return max(SECONDS_AT_LEAST, work / 1e6 * SECONDS_PER_MEGAPIXEL.get(spec.KIND, 0.0))
