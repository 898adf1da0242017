"""How reliable the two rankings are: split halves over seeds, contents, sets and judges.

The reliability of a ranking is the mean over random splits of Spearman's correlation between the halves' scores,
stepped up to the whole (Spearman 1910, Brown 1910: 2r / (1 + r)). The noise ceiling of a correlation is the square root
of the product of both reliabilities (Spearman 1904), here those over seeds and contents: what noise alone leaves of a
perfect agreement. Judges and sets are other questions: how much it matters whom one asks, and where.
"""

import math

import numpy as np
import pandas as pd

from orchestrator.aggregate.agreement import spearman
from orchestrator.aggregate.correlation import Array
from orchestrator.aggregate.panel import Panel
from orchestrator.aggregate.ranking import View, iqa_scores, optimization_scores
from orchestrator.aggregate.resampling import Draws, everything, halves

SPLITS = 200
SEED = 0
NOISE = "seeds and contents"
"""The split that the noise ceiling takes."""


def table(iqa: Panel, optimization: Panel) -> pd.DataFrame:
    """One row a (side, discriminator, what is split): side, discriminator, over, reliability, note."""
    rows = []
    for over in ("seeds", "contents", NOISE, "sets"):
        for side, panel in (("IQA", iqa), ("optimization", optimization)):
            rows += _rows(side, panel, over, _split(side, panel, over))
    if len(optimization.judges) > 1:
        rows += _rows("optimization", optimization, "judges", _split_judges(optimization))
    return pd.DataFrame(rows, columns=["side", "discriminator", "over", "reliability", "note"])


def ceiling(reliabilities: pd.DataFrame, discriminator: str) -> tuple[float, float, float, str]:
    """(noise ceiling, IQA reliability, optimization reliability, why there is no ceiling) of a discriminator."""
    noise = reliabilities[reliabilities["over"] == NOISE].set_index(["side", "discriminator"])
    pair = [("IQA", ""), ("optimization", discriminator)]
    r = [float(noise["reliability"].get(one, np.nan)) for one in pair]
    for name, value in zip(("IQA", "optimization"), r, strict=True):
        if math.isnan(value):
            return float("nan"), r[0], r[1], f"no noise ceiling: the {name} ranking cannot be split in halves"
        if value <= 0:
            why = f"no noise ceiling: the {name} ranking's reliability is {value:.3f}, not positive"
            return float("nan"), r[0], r[1], why
    return math.sqrt(r[0] * r[1]), r[0], r[1], ""


def _rows(side: str, panel: Panel, over: str, rho: Array | None) -> list[dict[str, object]]:
    names = panel.discriminators
    if rho is None:
        note = f"a single one of {over} has no halves"
        return [_row(side, name, over, float("nan"), note) for name in names]
    return [_row(side, name, over, *_stepped_up(rho[:, d])) for d, name in enumerate(names)]


def _row(side: str, discriminator: str, over: str, reliability: float, note: str) -> dict[str, object]:
    return {"side": side, "discriminator": discriminator, "over": over, "reliability": reliability, "note": note}


def _stepped_up(rho: Array) -> tuple[float, str]:
    defined = rho[np.isfinite(rho)]
    r = float(defined.mean()) if defined.size else float("nan")
    if math.isnan(r):
        return r, "no split has a correlation"
    return (2 * r / (1 + r), "") if r > 0 else (r, "the halves do not agree: not stepped up")


def _split(side: str, panel: Panel, over: str) -> Array | None:
    """(SPLITS, D): correlation between the halves; None where nothing can be split."""
    seeds, contents = over in ("seeds", NOISE), over in ("contents", NOISE)
    splittable = {
        "seeds": len(panel.seeds) > 1,
        "contents": any(part.contents > 1 for part in panel.sets),
        "sets": len(panel.sets) > 1,
    }
    if not any(splittable[name] for name in (("seeds", "contents") if over == NOISE else (over,))):
        return None
    generator, whole = np.random.default_rng([SEED, 3]), everything(panel, SPLITS)
    of_seeds = halves(generator, len(panel.seeds), SPLITS)
    of_contents = [halves(generator, part.contents, SPLITS) for part in panel.sets]
    of_sets = halves(generator, len(panel.sets), SPLITS)
    scores = []
    for i in (0, 1):
        draws = Draws(
            of_seeds[i] if seeds else whole.seeds,
            of_sets[i] if over == "sets" else whole.sets,
            tuple(one[i] for one in of_contents) if contents else whole.contents,
        )
        scores.append(iqa_scores(panel, draws)[:, None] if side == "IQA" else optimization_scores(panel, draws)[0])
    return spearman(*scores)


def _split_judges(panel: Panel) -> Array:
    """(splits, D)"""
    generator = np.random.default_rng([SEED, 7])
    judges, middle = np.array(sorted(panel.judges)), len(panel.judges) // 2
    shuffled = [generator.permutation(judges) for _ in range(SPLITS)]
    pairs = dict.fromkeys((frozenset(one[:middle]), frozenset(one[middle:])) for one in shuffled)
    views = [View("half", without_judges=half) for pair in pairs for half in pair]
    scores = optimization_scores(panel, everything(panel), views)[:, 0]  # V, D, L
    return spearman(scores[0::2], scores[1::2])
