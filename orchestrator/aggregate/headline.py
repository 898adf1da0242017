"""The first screen of the report: three questions, each answered in one sentence by the verdicts on the grid's claims.

The sentences say what the verdicts say and no more: a claim that is undetermined is told with its n, the power at that
n and what would be needed, and a correlation that is not significant counts for neither side. How a verdict is reached
is in docs/statistics.md.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import pandas as pd

from orchestrator.aggregate.ranking import ALL
from orchestrator.aggregate.verdicts import (
    Row,
    counted,
    effect,
    has_value,
    is_decided,
    is_hidden,
    needed_units,
    number,
    rows,
    signed,
    word,
)
from orchestrator.aggregate.writing import caution

BETTER_METRIC = "Does a better metric make a better loss?"
ADVERSARIAL = "What does adversarial training do?"
BETTER_START = "Does a discriminator make a better start for an IQA model?"
GAP = {
    ("lower", "supported"): "It widens the gap",
    ("higher", "supported"): "It narrows the gap",
    ("negligible", "supported"): "It leaves the gap as it is",
    ("lower", "contradicted"): "It does not widen the gap",
    ("higher", "contradicted"): "It does not narrow the gap",
    ("negligible", "contradicted"): "It changes the gap",
}
"""Answers to `ADVERSARIAL` by the direction and the verdict of a claim on the change of agreement."""
QUOTED = 2
"""Decided claims that a sentence quotes; it names the others, and the cards tell all."""


@dataclass(frozen=True)
class Part:
    """A piece of a sentence, and the claim that it links to, if any."""

    text: str
    claim: str = ""


@dataclass(frozen=True)
class Sentence:
    """One answer: `question` stands above it, `answer` leads it."""

    question: str
    answer: str
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """The sentence as plain text."""
        return f"{self.answer}: {''.join(part.text for part in self.parts)}."

    @property
    def claims(self) -> list[str]:
        """The claims that it names."""
        return [part.claim for part in self.parts if part.claim]


@dataclass(frozen=True)
class Headline:
    """The caution that the labels deserve (empty for human opinion), to be shown first, and the three sentences."""

    caution: str
    sentences: tuple[Sentence, Sentence, Sentence]


def headline(
    claims: pd.DataFrame, asymmetry: pd.DataFrame, label_kind: str, views: pd.DataFrame | None = None
) -> Headline:
    """The headline of a study.

    Args:
        claims: the table `claims`; empty where the grid states none.
        asymmetry: the table `asymmetry`, for rho and the power at the number of losses; may be empty.
        label_kind: of the IQA sets; any but human opinion is cautioned.
        views: the table `claims_by_view`, for in how many other views a verdict that is quoted holds.
    """
    claims = claims if "contrast" in claims else pd.DataFrame(columns=["claim", "contrast", "measure"])
    claims = claims.assign(elsewhere=[_elsewhere(row, views) for row in rows(claims)])
    of_srcc = claims["measure"] == "srcc"
    rankings = claims["contrast"].isin(["agreement", "upset"])
    changes = claims["contrast"].isin(["agreement_change", "difference", "trend"]) & ~of_srcc
    starts = claims["contrast"].isin(["difference", "trend"]) & of_srcc
    return Headline(
        caution(label_kind),
        (
            _better_metric(rows(claims[rankings]), asymmetry),
            _adversarial(rows(claims[changes]), asymmetry),
            _better_start(rows(claims[starts])),
        ),
    )


# ------------------------------------------------------------------------------------------ the three questions


def _better_metric(asked: list[Row], asymmetry: pd.DataFrame) -> Sentence:
    agreement = [row for row in asked if row["contrast"] == "agreement"]
    others = [row for row in asked if row["contrast"] != "agreement"]
    if unanswered := _unanswered(asked, "the ranks of the losses as metrics and as losses (agreement, upset)"):
        answer, parts = unanswered
        return Sentence(BETTER_METRIC, answer, (*parts, *_observed(asymmetry)))
    if not agreement:
        return Sentence(BETTER_METRIC, _tally(asked), _clauses(asked))
    answer = _common(agreement, {"supported": "No", "contradicted": "Yes", "undetermined": "Undetermined"})
    parts = _joined([_agreement(row, asymmetry) for row in agreement])
    return Sentence(BETTER_METRIC, answer, (*parts, *([Part("; "), *_clauses(others, beside=True)] if others else [])))


def _adversarial(asked: list[Row], asymmetry: pd.DataFrame) -> Sentence:
    if unanswered := _unanswered(asked, "discriminators (agreement_change, or difference and trend of quality)"):
        return Sentence(ADVERSARIAL, *unanswered)
    changes = [row for row in asked if row["contrast"] == "agreement_change"]
    decided = {GAP[word(row, "direction"), word(row, "verdict")] for row in changes if is_decided(row)}
    answer = decided.pop() if len(decided) == 1 else _tally(asked)
    power = _power(asymmetry) if any(has_value(row) and not is_decided(row) for row in changes) else ""
    return Sentence(ADVERSARIAL, answer, (*_clauses(asked), *([Part(f"; {power}")] if power else [])))


def _better_start(asked: list[Row]) -> Sentence:
    if unanswered := _unanswered(asked, "initializations of IQA models (difference of srcc)"):
        return Sentence(BETTER_START, *unanswered)
    found = ", ".join(dict.fromkeys(filter(None, map(_comparison, asked))))
    return Sentence(BETTER_START, found.capitalize() or _tally(asked), _clauses(asked))


def _comparison(row: Row) -> str:
    """`better than random` or `worse than released` where the claim is supported and sets models that start from a
    discriminator (initialization gan) against others; empty otherwise."""
    sign = {"higher": 1, "lower": -1}.get(word(row, "direction"), 0) * (word(row, "verdict") == "supported")
    sides = [re.search(r"initialization\W+([\w-]+)", word(row, side)) for side in ("of", "over")]
    of, over = (side[1] if side else "" for side in sides)
    if not sign or not of or not over or (of == "gan") == (over == "gan"):
        return ""
    return f"{'better' if (sign > 0) == (of == 'gan') else 'worse'} than {over if of == 'gan' else of}"


def _unanswered(asked: Sequence[Row], subject: str) -> tuple[str, tuple[Part, ...]] | None:
    """(answer, parts) where no claim asks, or none that does has a value."""
    if not asked:
        return "Not asked", (Part(f"the grid states no claim on {subject}"),)
    if any(has_value(row) or is_hidden(row) for row in asked):
        return None
    why = next((note for row in asked if (note := word(row, "note"))), "the trials behind it are not there")
    return "No value yet", (*_named(asked), Part(f" cannot be computed: {why.rstrip('.')}"))


# ------------------------------------------------------------------------------------------------------- clauses


def _agreement(row: Row, asymmetry: pd.DataFrame) -> list[Part]:
    """What a claim on perfect agreement found, in words of its own: it is the question itself."""
    if is_hidden(row):
        power = f"; {_power(asymmetry)}" if _power(asymmetry) else ""
        said = f"noise hides whether {counted(row)} rank alike as metrics and as losses ("
        return [Part(said), _link(row), Part(f"){power}")]
    if not has_value(row):
        return [_link(row), Part(" has no value yet")]
    found = [Part(" ("), _link(row), Part(f": {effect(row)})")]
    if row["verdict"] == "supported":
        return [Part(f"as metrics and as losses {counted(row)} rank further apart than noise explains"), *found]
    if row["verdict"] == "contradicted":
        return [Part(f"{counted(row)} rank as losses nearly as they do as metrics"), *found]
    needed = needed_units(row)
    words = [_power(asymmetry), f"about {needed} would be needed" if needed else ""]
    told = "".join(f"; {word}" for word in words if word)
    return [Part(f"{counted(row)} do not tell agreement from asymmetry"), *found, *([Part(told)] if told else [])]


def _clauses(asked: Sequence[Row], beside: bool = False) -> tuple[Part, ...]:
    """The decided claims by verdict, the first `QUOTED` in the grid's own words; then those that are not decided.
    `beside`: something was said before."""
    verdicts = [[row for row in asked if word(row, "verdict") == name] for name in ("supported", "contradicted")]
    decided = [row for of_verdict in verdicts for row in of_verdict]
    quoted, others = decided[:QUOTED], decided[QUOTED:]
    clauses = [_decided(row) for row in quoted]
    for name, of_verdict in groupby(others, lambda row: word(row, "verdict")):
        clauses.append([Part(f"also {name}: "), *_named(list(of_verdict))])
    if undecided := [row for row in asked if not is_decided(row)]:
        said = "not decided: " if decided or beside else ""
        clauses.append([Part(said), *_joined(map(_undecided, undecided), ", ")])
    return _joined(clauses)


def _decided(row: Row) -> list[Part]:
    says = word(row, "says").rstrip(". ")
    elsewhere = f", {word(row, 'elsewhere')}" if word(row, "elsewhere") else ""
    effects = f", {effect(row, interval=False)}{elsewhere})"
    return [Part(f"“{says}” is {row['verdict']} ("), _link(row), Part(effects)]


def _elsewhere(row: Row, views: pd.DataFrame | None) -> str:
    """In how many of the other views the verdict is the same; empty where it is in all."""
    if views is None or "claim" not in views:
        return ""
    other = views[(views["claim"] == row["claim"]) & (views["view"] != ALL.name)]["verdict"]
    same = int((other == row["verdict"]).sum())
    return f"but in {same or 'none'} of {len(other)} other views" if same < len(other) else ""


def _undecided(row: Row) -> list[Part]:
    if not has_value(row):
        return [_link(row), Part(" (hidden by noise)" if is_hidden(row) else " (no value yet)")]
    needed = f"; about {number(row, 'needed'):,.0f} needed" if needed_units(row) else ""
    return [_link(row), Part(f" ({counted(row)}{needed})")]


def _observed(asymmetry: pd.DataFrame) -> list[Part]:
    """The mean correlation that was seen, told without a verdict."""
    rho = asymmetry["spearman"].dropna() if "spearman" in asymmetry else pd.Series(dtype=float)
    if rho.empty:
        return []
    n = int(asymmetry["losses"].max())
    return [Part(f"; the mean rank correlation seen is {signed(rho.mean())} at n = {n}, which decides nothing")]


def _power(asymmetry: pd.DataFrame) -> str:
    """The least power with which the study's number of losses finds a true correlation of 0.7."""
    power = asymmetry["power_70"].dropna() if "power_70" in asymmetry else pd.Series(dtype=float)
    if power.empty:
        return ""
    n = int(asymmetry.loc[power.idxmin(), "losses"])
    return f"at n = {n} a true r of 0.7 is found with a power of {power.min():.0%}".replace("%", " %")


def _tally(asked: Sequence[Row]) -> str:
    """The verdict that all share, or how many were decided."""
    decided = sum(map(is_decided, asked))
    if not decided:
        return "Undetermined"
    return f"{decided} of {len(asked)} claims decided" if len(asked) > 1 else str(asked[0]["verdict"]).capitalize()


def _common(asked: Sequence[Row], answers: dict[str, str]) -> str:
    """The answer that all verdicts give, or that they differ."""
    found = {answers[word(row, "verdict")] for row in asked}
    return found.pop() if len(found) == 1 else "In part"


def _link(row: Row) -> Part:
    return Part(word(row, "claim"), word(row, "claim"))


def _named(asked: Sequence[Row]) -> tuple[Part, ...]:
    return _joined([[_link(row)] for row in asked], ", ")


def _joined(clauses: Iterable[Sequence[Part]], separator: str = "; ") -> tuple[Part, ...]:
    parts: list[Part] = []
    for clause in clauses:
        parts += [*([Part(separator)] if parts else []), *clause]
    return tuple(parts)
