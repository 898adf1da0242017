"""A card for each claim: its verdict in words, its effect drawn against zero and the smallest effect that matters."""

from dataclasses import dataclass

import pandas as pd

from orchestrator.aggregate.folding import text
from orchestrator.aggregate.provenance import Provenance
from orchestrator.aggregate.ranking import ALL
from orchestrator.aggregate.verdicts import (
    SIGNS,
    Row,
    counted,
    effect,
    has_value,
    is_hidden,
    needed_units,
    number,
    rows,
    signed,
    unit,
    word,
)
from orchestrator.aggregate.views import Trials, trials


@dataclass(frozen=True)
class Drawing:
    """Places on a line from 0 to 100 with zero effect at 50: the interval, the effect, and +-matters; and what a
    screen reader says instead."""

    low: float
    high: float
    effect: float
    matters: tuple[float, float]
    alt: str


@dataclass(frozen=True)
class Card:
    """One claim as the page shows it."""

    claim: str
    says: str
    verdict: str
    sign: str
    drawing: Drawing | None
    facts: list[tuple[str, str]]
    """(what, value), only those that are there."""
    trials: Trials | None


def cards(claims: pd.DataFrame, views: pd.DataFrame, provenance: Provenance) -> list[Card]:
    """The cards of the table `claims`, with what the other views (table `claims_by_view`, may be empty) say."""
    return [_card(row, views, provenance) for row in rows(claims)]


def _card(row: Row, views: pd.DataFrame, provenance: Provenance) -> Card:
    keys = word(row, "keys").split()
    verdict = word(row, "verdict")
    return Card(
        claim=word(row, "claim"),
        says=word(row, "says"),
        verdict=verdict,
        sign=SIGNS.get(verdict, ""),
        drawing=_drawing(row),
        facts=[(what, value) for what, value in _facts(row, views) if value],
        trials=trials(keys, provenance, f"{len(keys):,} trial{'s' if len(keys) != 1 else ''}"),
    )


def _facts(row: Row, views: pd.DataFrame) -> list[tuple[str, str]]:
    sides = " over ".join(filter(None, [word(row, "of"), word(row, "over")]))
    return [
        ("effect", effect(row) if has_value(row) else "hidden by noise" if is_hidden(row) else "no value"),
        ("claimed", word(row, "direction")),
        ("matters from", f"{number(row, 'matters'):g}{unit(row)}" if word(row, "matters") else ""),
        ("n", counted(row) if word(row, "units") else ""),
        ("p for it", _p(row, "p_holm")),
        ("p against it", _p(row, "p_against_holm")),
        ("n needed", f"about {needed_units(row)}" if needed_units(row) else ""),
        ("compares", sides),
        ("other views", _elsewhere(word(row, "claim"), word(row, "verdict"), views)),
        ("note", word(row, "note")),
    ]


def _p(row: Row, name: str) -> str:
    value = number(row, name)
    return f"{text(value)} (Holm)" if value == value else ""


def _elsewhere(claim: str, verdict: str, views: pd.DataFrame) -> str:
    """How many other views reach the same verdict, and which reach another one."""
    if "claim" not in views:
        return ""
    here = views[(views["claim"] == claim) & (views["view"] != ALL.name)]
    others = here[here["verdict"] != verdict].groupby("verdict", sort=False)["view"].agg(", ".join)
    if here.empty:
        return ""
    same = f"same verdict in {(here['verdict'] == verdict).sum()} of {len(here)}"
    return "; ".join([same, *(f"{name}: {names}" for name, names in others.items())])


def _drawing(row: Row) -> Drawing | None:
    value, low, high = (number(row, name) for name in ("effect", "effect_low", "effect_high"))
    matters = number(row, "matters")
    if any(x != x for x in (value, low, high, matters)):
        return None
    reach = max(abs(value), abs(low), abs(high), 1.5 * matters) * 1.05

    def place(x: float) -> float:
        return round(50 + 50 * x / reach, 1)

    alt = f"effect {signed(value)}, 95 % interval {signed(low)} to {signed(high)}; what matters begins at {matters:g}"
    return Drawing(place(low), place(high), place(value), (place(-matters), place(matters)), alt)
