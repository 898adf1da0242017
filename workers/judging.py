"""Judging: one judge's score of each restored image of one test set, as the judge gives it (not turned around).

numbers: mean (over images), lower_better (1 when a lower score is better, else 0)
"""

import numpy as np
from PIL import Image

from orchestrator.spec import Judging
from workers import judges
from workers.context import Context, Result
from workers.data.photographs import central_crop, content, load, to_tensor
from workers.training import write_scores


def run(spec: Judging, context: Context) -> Result:
    """Scores the parent's images against the test set's own photographs."""
    installed = f"pyiqa {judges.version()}"
    if spec.judge.version != installed:
        raise ValueError(f"judge {spec.judge.metric}: the spec wants {spec.judge.version}, installed is {installed}")
    judge = judges.judge(spec.judge.metric, context.device)
    photographs = spec.test.photographs
    folder = context.parent("restoration") / "images"
    restored = np.stack([np.asarray(Image.open(folder / f"{photograph.name}.png")) for photograph in photographs])
    reference = np.stack([central_crop(load(photograph), spec.test.crop) for photograph in photographs])
    scores = judge.scores(to_tensor(restored), to_tensor(reference))
    write_scores(
        context,
        kind=spec.KIND,
        measure=spec.judge.metric,
        data_set=spec.test.name,
        split="test",
        image=[photograph.name for photograph in photographs],
        content=[content(photograph.name) for photograph in photographs],
        prediction=scores,
    )
    return Result(numbers={"mean": float(np.mean(scores)), "lower_better": float(judge.lower_better)})
