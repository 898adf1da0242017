"""A row of the table `claims` in words. Columns that are not there, and holes, are empty."""

import math

import pandas as pd

from orchestrator.aggregate.noise import HIDDEN

UNITS = {"quality": " sd", "srcc": " SRCC", "stability": " dB"}
"""What a measure is in: standard deviations of a judge over warm-up outputs, SRCC, dB of validation PSNR."""
SYMBOLS = {"agreement": "1 − ρ = ", "agreement_change": "change of ρ "}
SIGNS = {"supported": "✓", "contradicted": "✗", "undetermined": "?"}
"""What stands beside each verdict's word, so that no verdict is told by its colour."""

Row = dict[str, object]


def rows(claims: pd.DataFrame) -> list[Row]:
    """The rows of a frame as dictionaries."""
    return [{str(name): value for name, value in row.items()} for row in claims.to_dict("records")]


def word(row: Row, name: str) -> str:
    """A column's text."""
    value = row.get(name)
    return "" if value is None or pd.isna(value) else str(value)


def number(row: Row, name: str) -> float:
    """A column's number; NaN for a hole."""
    return float(word(row, name) or "nan")


def has_value(row: Row) -> bool:
    """Whether the claim's effect could be computed."""
    return not math.isnan(number(row, "effect"))


def is_hidden(row: Row) -> bool:
    """Whether the claim has no effect because of noise."""
    return not has_value(row) and HIDDEN in word(row, "note")


def is_decided(row: Row) -> bool:
    """Whether the claim is supported or contradicted."""
    return word(row, "verdict") in ("supported", "contradicted")


def effect(row: Row, interval: bool = True) -> str:
    """E.g. `+0.31 sd, 95 % +0.10 to +0.52`, led by the symbol of a correlation."""
    value, low, high = (number(row, name) for name in ("effect", "effect_low", "effect_high"))
    places = 3 if word(row, "measure") == "srcc" else 2
    shown, *bounds = (signed(x, places) for x in (value, low, high))
    told = f", 95 % {' to '.join(bounds)}" if interval and not math.isnan(low + high) else ""
    return f"{SYMBOLS.get(word(row, 'contrast'), '')}{shown}{unit(row)}{told}"


def unit(row: Row) -> str:
    """The unit of the claim's effect with a space before it; empty for correlations."""
    measure = "quality" if word(row, "contrast") == "upset" else word(row, "measure")
    return UNITS.get(measure, "") + (" a tenfold" if word(row, "contrast") == "trend" else "")


def counted(row: Row) -> str:
    """How many units the claim rests on, e.g. `6 losses`."""
    return _units(number(row, "units"), row) or "the losses"


def needed_units(row: Row) -> str:
    """How many units would be needed to decide the claim, e.g. `24 losses`; empty where that is not known."""
    return _units(number(row, "needed"), row)


def _units(n: float, row: Row) -> str:
    if math.isnan(n):
        return ""
    name = word(row, "unit") or "loss"
    return f"{n:,.0f} {name}" if n == 1 else f"{n:,.0f} {name}{'es' if name.endswith('s') else 's'}"


def signed(value: float, places: int = 2) -> str:
    """A number with so many decimals and its sign, which zero has none of."""
    return f"{value:+.{places}f}".replace("-", "−") if round(value, places) else f"{0:.{places}f}"
