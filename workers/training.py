"""What the recipes share: numerics, seeds, the training loop with its checkpoints, EMA, curves and scores on disk."""

import collections
import hashlib
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from orchestrator.spec import Numerics
from workers.checkpoints import Checkpoints
from workers.context import Context, Interrupted, Result
from workers.data.iqa_sets import IqaSet

T = TypeVar("T")


def settle(numerics: Numerics) -> None:
    """Makes this process compute as `numerics` says: `reference` is fp32, deterministic algorithms, one CPU thread;
    `fast` lets a GPU use TF32 and choose its convolutions by measurement. Both are one CPU thread a trial."""
    reference = numerics == "reference"
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(reference)
    torch.backends.cudnn.benchmark = not reference
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = not reference


def full_precision() -> None:
    """No TF32 from here on: published scores of a judge are fp32, and a judge costs little."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def autocast(numerics: Numerics, device: str) -> torch.autocast:
    """bf16 for a generator's matrix products under `fast` on a GPU, else nothing. Not fp16: the classical SwinIR
    overflows in it. Losses stay outside: variances of features need more than bf16's 8 bits."""
    kind = torch.device(device).type
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=numerics == "fast" and kind == "cuda")


def derive_seed(*parts: int | str) -> int:
    """A seed (63 bits) that is a fixed function of `parts`: streams with different names never overlap by accident."""
    return int.from_bytes(hashlib.sha256(json.dumps(parts).encode()).digest()[:8], "big") >> 1


class Stateful(Protocol):
    """Whatever takes part in a checkpoint."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any], /) -> Any: ...


class Curves:
    """Learning curves in long form: (step, name, value)."""

    def __init__(self) -> None:
        self.points: list[tuple[int, str, float]] = []

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Appends `values` at `step`."""
        self.points += [(step, name, float(value)) for name, value in values.items()]

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"points": self.points}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.points = [tuple(point) for point in state["points"]]

    def write(self, out: Path) -> None:
        """Writes `curves.parquet`."""
        steps, names, values = zip(*self.points, strict=True) if self.points else ((), (), ())
        schema = pa.schema([("step", pa.int64()), ("name", pa.string()), ("value", pa.float64())])
        pq.write_table(pa.table([list(steps), list(names), list(values)], schema=schema), out / "curves.parquet")


MOST_TIMED_STEPS = 64


class Loop:
    """Iterates over the steps of a training, resumes where the last checkpoint was, and writes the next ones.

    `parts` are all that changes during training. Iterating yields the step to do; after the recipe has done it the loop
    saves a checkpoint when one is due, and when the trial is asked to stop saves one and raises Interrupted.
    """

    REPORT_SECONDS = 2.0

    def __init__(self, context: Context, steps: int, parts: dict[str, Stateful], log_every: int = 10) -> None:
        self.context, self.steps, self.log_every = context, steps, log_every
        self.curves = Curves()
        self.parts = {**parts, "curves": self.curves}
        self.checkpoints = Checkpoints(context.checkpoint_folder, context.out)
        self.durations: collections.deque[float] = collections.deque(maxlen=MOST_TIMED_STEPS)
        self.waits: collections.deque[float] = collections.deque(maxlen=MOST_TIMED_STEPS)

    def __iter__(self) -> Iterator[int]:
        first = self._resume()
        self.context.measured["first_step"] = float(first)
        saved = reported = time.monotonic()
        for step in range(first, self.steps):
            if self.context.count_flops and step == max(0, self.steps - 2):  # the last one may evaluate, too
                with FlopCounterMode(display=False) as counter:
                    yield step
                self.context.measured["flops_per_step"] = float(counter.get_total_flops())
            else:
                started = time.perf_counter()
                yield step
                self._note_seconds(started)
            now = time.monotonic()
            if now - reported > self.REPORT_SECONDS:
                self.context.report(step + 1, self.steps, {name: value for _, name, value in self.curves.points[-8:]})
                reported = now
            if self.context.should_stop():
                self._save(step + 1)
                raise Interrupted(f"stopped on request after step {step + 1} of {self.steps}")
            if now - saved > self.context.checkpoint_seconds:
                self._save(step + 1)
                saved = now

    def _note_seconds(self, started: float) -> None:
        """The median of the later half of the steps: the first ones calibrate, and pay for what is built lazily."""
        if self.context.count_flops and self.context.device.startswith("cuda"):
            torch.cuda.synchronize()
        self.durations.append(time.perf_counter() - started)
        later = list(self.durations)[len(self.durations) // 2 :]
        self.context.measured["seconds_per_step"] = statistics.median(later)

    def batches(self, make: Callable[[int], T]) -> Iterator[tuple[int, T]]:
        """As iterating, each step with its batch `make(step)`, a function of the step alone. A GPU does not wait for
        it: a thread makes the next one while a step trains. A CPU, whose cores all train, would lose 1 to 8 % by it."""
        if not self.context.device.startswith("cuda"):
            for step in self:
                yield step, self._waited(partial(make, step))
            return
        with ThreadPoolExecutor(1, "batches", torch.set_num_threads, (1,)) as thread:
            coming: dict[int, Future[T]] = {}
            for step in self:
                batch = coming.pop(step) if step in coming else thread.submit(make, step)
                if step + 1 < self.steps:
                    coming[step + 1] = thread.submit(make, step + 1)
                yield step, self._waited(batch.result)

    def _waited(self, batch: Callable[[], T]) -> T:
        """A batch, when it is there; `seconds_waiting` is the median over the later half of the steps."""
        started = time.perf_counter()
        found = batch()
        self.waits.append(time.perf_counter() - started)
        later = list(self.waits)[len(self.waits) // 2 :]
        self.context.measured["seconds_waiting"] = statistics.median(later)
        return found

    def log(self, step: int, **values: float | torch.Tensor) -> None:
        """Records `values` every `log_every` steps and at the last one."""
        if step % self.log_every == 0 or step == self.steps - 1:
            self.curves.add(step, {name: float(torch.as_tensor(value).detach()) for name, value in values.items()})

    def diverged(self, note: str, numbers: Mapping[str, float]) -> Result:
        """The outcome of a run that is given up, e.g. at a loss that is not finite: its curves, and no weights."""
        self.curves.write(self.context.out)
        return Result(status="diverged", numbers=numbers, note=note)

    def _resume(self) -> int:
        state = self.checkpoints.load()
        if state is None:
            return 0
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        return int(state["step"])

    def _save(self, step: int) -> None:
        self.context.keep(self.checkpoints.save(step, {name: part.state_dict() for name, part in self.parts.items()}))


def all_finite(state: Mapping[str, torch.Tensor]) -> bool:
    """Whether no weight is infinite or NaN: after the last update of a run no loss would tell."""
    return all(bool(value.isfinite().all()) for value in state.values())


class Ema:
    """Exponential moving average of a model's parameters: what is evaluated and exported."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.decay = model, decay
        self.shadow = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self) -> None:
        """After an optimizer step: average <- decay * average + (1 - decay) * model."""
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                self.shadow[name].lerp_(value, 1 - self.decay)
            else:
                self.shadow[name].copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """The averaged parameters, in the model's layout."""
        return self.shadow

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        for name, value in self.shadow.items():
            value.copy_(state[name])


def linear_decay(optimizer: torch.optim.Optimizer, step: int, steps: int) -> None:
    """Sets each group's rate at `step` on the line from its `initial_lr` down to 0 at `steps`: a function of the step,
    so there is nothing to save."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * (1 - step / steps)


SCORES = pa.schema(
    [
        ("key", pa.string()),
        ("kind", pa.string()),
        ("measure", pa.string()),
        ("data_set", pa.string()),
        ("split", pa.string()),
        ("image", pa.string()),
        ("content", pa.string()),
        ("seed", pa.int64()),
        ("prediction", pa.float64()),
        ("label", pa.float64()),
    ]
)


def write_scores(context: Context, **columns: Any) -> None:
    """Writes `scores.parquet`, one row an image. A column may be one value for all rows; `image` is a list."""
    rows = len(columns["image"])
    columns = {"key": context.key, **columns}
    whole = {
        name: list(value) if isinstance(value, list | tuple) else [value] * rows for name, value in columns.items()
    }
    pq.write_table(
        pa.table([whole.get(name, [None] * rows) for name in SCORES.names], schema=SCORES),
        context.out / "scores.parquet",
    )


def write_predictions(
    context: Context, kind: str, data: IqaSet, data_set: str, split: str, prediction: np.ndarray
) -> None:
    """Writes `scores.parquet` for predictions (N,) of quality on an IQA set, beside the set's labels."""
    write_scores(
        context,
        kind=kind,
        measure="quality",
        data_set=data_set,
        split=split,
        image=list(data.images),
        content=list(data.contents),
        prediction=prediction.tolist(),
        label=data.quality.astype(np.float64).tolist(),
    )
