"""A few numbers for each trial, from its per-image predictions."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from orchestrator.aggregate.correlation import krcc, plcc, plcc_fitted
from orchestrator.aggregate.predictions import Predictions


def correlations(scores: Mapping[str, Predictions], keys: Iterable[str], fitted: bool = False) -> pd.DataFrame:
    """SRCC, KRCC and PLCC (with `fitted`, PLCC after the logistic and whether it converged) of each benchmark trial of
    `keys` that is done."""
    rows: list[dict[str, Any]] = []
    for key in dict.fromkeys(keys):
        if key not in scores:
            continue
        prediction, label = scores[key].values, scores[key].images.labels
        rows.append(
            {
                "key": key,
                "srcc": scores[key].srcc,
                "krcc": krcc(prediction, label),
                "plcc": plcc(prediction, label),
            }
        )
        if fitted:
            rows[-1]["plcc_fitted"], rows[-1]["converged"] = plcc_fitted(prediction, label)
    return pd.DataFrame(
        rows, columns=["key", "srcc", "krcc", "plcc", *(["plcc_fitted", "converged"] if fitted else [])]
    )


def image_means(scores: Mapping[str, Predictions], keys: Iterable[str]) -> pd.DataFrame:
    """Mean over the images of each trial and their number: key, mean, images."""
    trials = {key: scores[key].values for key in dict.fromkeys(keys)}
    frame = pd.DataFrame(
        {
            "key": np.repeat(np.array(list(trials), dtype=object), [len(values) for values in trials.values()]),
            "prediction": np.concatenate([np.zeros(0), *trials.values()]),
        }
    )
    means = frame.groupby("key", sort=False)["prediction"].agg(["mean", "size"])
    return means.rename(columns={"size": "images"}).reset_index()
