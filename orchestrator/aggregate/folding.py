"""How a frame is shown to people: intervals, deviations and planned counts folded beside the number they belong to.

Markdown, LaTeX and the report show `columns(frame)`; CSV and Parquet keep the frame as it is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

HOLE = "–"
UNSHOWN = ("keys",)
"""Columns for machines alone."""
WORDS = {
    "data_set": "set",
    "spearman": "Spearman ρ",
    "spearman_p": "p (ρ)",
    "joint_p": "p (ρ, joint)",
    "kendall": "Kendall τ",
    "kendall_p": "p (τ)",
    "smallest_p": "smallest p",
    "like": "95 %, losses like these",
    "power_50": "power at r = .5",
    "power_70": "power at r = .7",
    "power_90": "power at r = .9",
    "p_holm": "p (Holm)",
    "p_against": "p against",
    "p_against_holm": "p against (Holm)",
    "srcc": "SRCC",
    "krcc": "KRCC",
    "plcc": "PLCC",
    "plcc_fitted": "PLCC fitted",
    "iqa_score": "IQA score",
    "iqa_rank": "IQA rank",
    "iqa_reliability": "IQA reliability",
    "validation_psnr": "validation PSNR",
    "validation_psnr_bicubic": "validation PSNR of bicubic",
    "validation_psnr_spread": "validation PSNR spread",
}
"""Headings that are not the column's name with spaces."""
VALUE_OF = {"change": "corrected_change"}
"""Bounds X_low and X_high bound the column X, but for these stems."""
SHORT = ("rank", "shift", "weight")
"""Ends of the names of columns that have no more decimals than they need: ranks are whole or halves."""


@dataclass(frozen=True)
class Column:
    """One column as people see it: the text of each row, and what is said beside it, smaller."""

    name: str
    """In the frame; of a lone interval what its bounds have in common."""
    heading: str
    cells: list[str]
    beside: list[str]
    """An interval or a standard deviation; "" where there is none."""
    beside_heading: str
    """Empty where nothing stands beside."""
    number: bool


def text(value: Any) -> str:
    """A cell for people: three decimals, nothing for a hole, yes for a true mark."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else ""
    if value is None or pd.isna(value):
        return ""
    if isinstance(value, float | np.floating):
        return "<0.001" if 0 < value < 0.0005 else f"{value:.3f}".replace("-0.000", "0.000")
    return str(value)


def bounds(frame: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Column -> the columns with the ends of its interval. A column that is not in the frame is a lone interval."""
    stems = [name.removesuffix("_low") for name in frame if str(name).endswith("_low")]
    return {VALUE_OF.get(x, x): (f"{x}_low", f"{x}_high") for x in stems if f"{x}_high" in frame}


def columns(frame: pd.DataFrame) -> list[Column]:
    """The frame's columns in its order: an interval beside its value or alone, a standard deviation (X_sd) beside its
    mean, "4 of 5" for a count and its plan (X and X_planned), without those that are for machines."""
    intervals, shown = bounds(frame), []
    lone = {low: name for name, (low, _) in intervals.items() if name not in frame}
    folded = {end for ends in intervals.values() for end in ends} - set(lone)
    folded |= {f"{name}_planned" for name in frame} | {f"{name}_sd" for name in frame if name not in intervals}
    folded |= set(UNSHOWN)
    for name in frame:
        if name in lone:
            ends = _between(frame, lone[name], *intervals[lone[name]])
            shown.append(Column(lone[name], heading(lone[name]), [x or HOLE for x in ends], [], "", True))
        elif name not in folded:
            shown.append(_column(frame, name, intervals.get(name)))
    return shown


def heading(name: str) -> str:
    """What a column is called."""
    return WORDS.get(name, name.replace("_", " "))


def _column(frame: pd.DataFrame, name: str, ends: tuple[str, str] | None) -> Column:
    values, beside, said = frame[name], [""] * len(frame), ""
    number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    cells = [HOLE if pd.isna(value) else _shown(name)(value) for value in values]
    if ends:
        beside, said = _between(frame, name, *ends), "95 % interval"
    elif f"{name}_sd" in frame:
        beside = [f"± {text(sd)}" if pd.notna(sd) else "" for sd in frame[f"{name}_sd"]]
        said = "± sd"
    if f"{name}_planned" in frame:
        cells = [f"{there} of {planned}" for there, planned in zip(cells, frame[f"{name}_planned"], strict=True)]
    return Column(name, heading(name), cells, beside, said, number)


def _between(frame: pd.DataFrame, name: str, low: str, high: str) -> list[str]:
    """ "0.1 to 0.9" a row; "" where an end is missing."""
    shown, pairs = _shown(name), zip(frame[low], frame[high], strict=True)
    return [f"{shown(a)} to {shown(b)}" if pd.notna(a) and pd.notna(b) else "" for a, b in pairs]


def _shown(name: str) -> Callable[[Any], str]:
    return short if name.endswith(SHORT) else text


def short(value: Any) -> str:
    """A number with three decimals at most, or three significant digits where it is small: 1, 2.5, 0.0001."""
    if not isinstance(value, float) or pd.isna(value):  # of which float64 is one
        return text(value)
    return f"{value:.3g}" if 0 < abs(value) < 0.001 else f"{round(value, 3) + 0.0:g}"
