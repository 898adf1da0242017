"""What a trial costs, in seconds: the median of the finished trials of its shape, else an estimate from its steps.

The estimates order the queue (longest remaining path first); nothing that is measured or tabulated depends on them.
"""

import statistics
from collections import defaultdict
from collections.abc import Iterable

from orchestrator.spec import FrIqa, IqaTransfer, Judging, Pretext, Restoration, SuperResolution, Trial
from orchestrator.store import Store

# Seconds on one core of a 2020s server, for the demo's small networks: an order of magnitude until trials are measured.
SECONDS_PER_STEP = {"pretext": 0.06, "super_resolution": 0.12, "iqa_transfer": 0.06}
SECONDS_AT_LEAST = 0.3


def shape(spec: Trial) -> str:
    """Name of the group of trials that cost the same: kind, models and sizes, without seeds and data."""
    match spec:
        case Pretext():
            return f"pretext {spec.backbone.model} {spec.training.steps}x{spec.training.batch}"
        case FrIqa():
            return f"fr_iqa {spec.backbone.model}"
        case SuperResolution():
            loss = getattr(getattr(spec.loss, "backbone", None), "model", "pixel")
            against = f"{spec.discriminator.head} {spec.discriminator.backbone.model}" if spec.discriminator else "none"
            return f"super_resolution {loss} {against} {spec.training.steps}x{spec.training.batch}"
        case IqaTransfer():
            return f"iqa_transfer {spec.task} {spec.backbone.model} {spec.training.steps}x{spec.training.batch}"
        case Restoration():
            return f"restoration {spec.test.name}"
        case Judging():
            return f"judging {spec.judge.metric} {spec.test.name}"
        case _:
            return spec.KIND


def estimate(spec: Trial) -> float:
    """Seconds that `spec` takes where nothing of its shape was measured."""
    steps = getattr(getattr(spec, "training", None), "steps", 0)
    return float(max(SECONDS_AT_LEAST, steps * SECONDS_PER_STEP.get(spec.KIND, 0.0)))


class Costs:
    """Seconds by shape, learned from records."""

    def __init__(self) -> None:
        self.measured: dict[str, float] = {}

    @classmethod
    def from_store(cls, store: Store, finished: Iterable[tuple[Trial, str]], most: int = 5) -> "Costs":
        """Reads at most `most` records of each shape among `finished`, pairs of (spec, key)."""
        seconds: dict[str, list[float]] = defaultdict(list)
        for spec, key in finished:
            group = seconds[shape(spec)]
            if len(group) < most:
                try:
                    group.append(float(store.record(spec.KIND, key)["seconds"]))
                except (OSError, KeyError, TypeError, ValueError):
                    continue  # a damaged record costs an estimate, not the plan
        costs = cls()
        costs.measured = {name: statistics.median(values) for name, values in seconds.items() if values}
        return costs

    def seconds(self, spec: Trial) -> float:
        """Expected seconds of `spec`."""
        return self.measured.get(shape(spec), estimate(spec))
