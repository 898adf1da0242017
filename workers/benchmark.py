"""Benchmark: per-image predictions of a fitted metric or an IQA model on one IQA set, and their correlations.

Predictions and labels are oriented: higher is better. The labels of a severity ladder are not human opinion.

numbers: srcc, krcc, plcc (raw) over all images of the set; absent when predictions are constant
"""

from functools import partial

import numpy as np
from scipy import stats

from orchestrator.spec import Benchmark, FrIqa, Parent
from workers.context import Context, Result
from workers.data.iqa_sets import open_set
from workers.predictions import iqa_quality, metric_quality
from workers.resuming import Steps
from workers.training import write_predictions
from workers.weights import load_iqa_model, load_metric


def run(spec: Benchmark, context: Context) -> Result:
    """Predicts every image of the set."""
    data = open_set(spec.data, context.sources)
    folder, work = context.parent("model"), partial(Steps, context)
    kind = spec.model.kind if isinstance(spec.model, Parent) else spec.model.KIND
    if kind == FrIqa.KIND:
        prediction = metric_quality(load_metric(folder).to(context.device), data, work)
    else:
        prediction = iqa_quality(load_iqa_model(folder).to(context.device), data, work).double().numpy()
    write_predictions(context, spec.KIND, data, spec.data.name, "test", prediction)
    return Result(numbers=correlations(prediction, data.quality))


def correlations(prediction: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """SRCC, KRCC (tau-b) and raw PLCC of two (N,) arrays; empty when either is constant, where none is defined."""
    if np.ptp(prediction) == 0 or np.ptp(label) == 0:
        return {}
    return {
        "srcc": float(stats.spearmanr(prediction, label).statistic),
        "krcc": float(stats.kendalltau(prediction, label).statistic),
        "plcc": float(stats.pearsonr(prediction, label).statistic),
    }
