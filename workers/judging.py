"""Judging: one judge's score of each restored image of one test set, as the judge gives it (not turned around).

numbers: mean (over images), lower_better (1 when a lower score is better, else 0)
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
from PIL import Image

from orchestrator.spec import Judging
from workers import judges, training
from workers.context import Context, Result
from workers.data.photographs import to_tensor
from workers.data.sr_pairs import Pair, evaluation_pairs

MOST_PIXELS = 2**20
"""Of the images that are scored at once."""


def run(spec: Judging, context: Context) -> Result:
    """Scores the parent's images against the test set's own."""
    installed = f"pyiqa {judges.version()}"
    if spec.judge.version != installed:
        raise ValueError(f"judge {spec.judge.metric}: the spec wants {spec.judge.version}, installed is {installed}")
    context.sources.check_judge(spec.judge.metric, spec.judge.weights)
    training.full_precision()
    judge = judges.judge(spec.judge.metric, context.device)
    pairs = evaluation_pairs(spec.test, context.sources, spec.scale)
    folder = context.parent("restoration") / "images"
    scores: list[float] = []
    for group in alike(pairs):
        restored = np.stack([np.asarray(Image.open(folder / f"{pair.image_name}.png")) for pair in group])
        reference = np.stack([pair.high for pair in group])
        scores += judge.scores(to_tensor(restored).to(context.device), to_tensor(reference).to(context.device))
        context.report(len(scores), len(pairs), {})
    training.write_scores(
        context,
        kind=spec.KIND,
        measure=spec.judge.metric,
        data_set=spec.test.name,
        split="test",
        image=[pair.image_name for pair in pairs],
        content=[pair.content for pair in pairs],
        prediction=scores,
    )
    return Result(numbers={"mean": float(np.mean(scores)), "lower_better": float(judge.lower_better)})


def alike(pairs: Sequence[Pair]) -> Iterator[list[Pair]]:
    """Consecutive pairs of equal size, as many as one batch holds."""
    for shape, group in groupby(pairs, key=lambda pair: pair.high.shape):
        together = list(group)
        most = max(1, MOST_PIXELS // (shape[0] * shape[1]))
        yield from (together[start : start + most] for start in range(0, len(together), most))
