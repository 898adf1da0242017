"""Two sweeps side by side: what changed, whether it is noise, and what only one of them has.

Works on the tables of both alone, so that a sweep can be compared whose store is elsewhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from orchestrator.aggregate.differences import CHANGED, NO_SPREAD, SAME, judged, overlap
from orchestrator.aggregate.folding import text
from orchestrator.aggregate.saved import LABELS, LOSS, TWIN, Sweep
from orchestrator.aggregate.scores import TWINS
from orchestrator.aggregate.writing import Table, write

MEASURES = (
    ("asymmetry", "corrected", "spearman", ["discriminator"]),
    ("asymmetry", "corrected_change", "change", ["discriminator"]),
    ("ranks", "iqa_rank", "iqa_rank", ["loss"]),
    ("ranks", "optimization_rank", "optimization_rank", ["loss", "discriminator"]),
    ("ranks", "shift", "shift", ["loss", "discriminator"]),
    ("claims", "effect", "effect", ["claim"]),
    ("adversarial_weight", "quality", "quality", ["head", "backbone", "start", "weight", "loss"]),
)
"""(table, number, what its bounds are named by, columns that name a row) of what is compared. Other views of the same
numbers (sensitivity, tables without circular judges) are not: they would count one difference many times."""
MEANING = ["contrast", "measure", "of", "over", "unit", "direction", "matters"]
"""Columns of claims that say what is claimed: where they differ, the effects are not the same number."""
PAIRS = ["table", "row", "number", *(f"{side}{end}" for side in "ab" for end in ("", "_low", "_high")), "shared"]
METHOD = (
    "Difference: b - a. Its interval is made of both intervals (MOVER, Zou and Donner 2008), its standard error is the "
    "side of it that faces zero over 1.96, for independent sweeps. shared: whether all, some or none of the trials "
    "that the two numbers rest on are the same. With some, the standard error is as a rule too large, which is "
    "conservative but not sure; with all, no test is made: what differs then is how the tables were made. A shared "
    "warm-up and images that both sweeps use have the same effect and are not seen here. changed: |z| > 1.96, that is "
    "p < 0.05; Holm's p takes all numbers that were tested together. no spread: both intervals have no width there."
)


@dataclass(frozen=True)
class Comparison:
    """What two sweeps, a and b, have in common and what not."""

    a: str
    b: str
    label_kind: str
    differences: pd.DataFrame
    verdicts: pd.DataFrame
    """claim, says, verdict_a, verdict_b, and `differs`: what of the claim's meaning does."""
    only: pd.DataFrame
    """what, level, only_in, keys"""
    summary: list[str]


def compare(a: Sweep, b: Sweep) -> Comparison:
    """Every number with an interval that both have, every claim's verdict, and what only one of them has. Raises
    saved.Incomparable for tables of another version."""
    if a.name == b.name:
        a, b = (replace(sweep, name=f"{sweep.name} ({side})") for sweep, side in ((a, "a"), (b, "b")))
    differences = judged(pd.DataFrame(_pairs(a, b), columns=PAIRS))
    verdicts, only = _claims(a, b), pd.DataFrame(_only(a, b), columns=["what", "level", "only_in", "keys"])
    kinds = dict.fromkeys([*a.levels().get(LABELS, []), *b.levels().get(LABELS, [])])
    summary = [*_tested(differences), *_untested(a, b, differences), *_turned(verdicts), *_lone(only)]
    return Comparison(a.name, b.name, "; ".join(kinds), differences, verdicts, only, summary)


def tables(found: Comparison) -> list[Table]:
    """The comparison's tables."""
    sides = f"a is {found.a}, b is {found.b}."
    return [
        Table(
            "differences",
            f"{found.a} against {found.b}",
            " ".join([sides, *found.summary]),
            found.differences,
            METHOD,
        ),
        Table("verdicts", f"Verdicts: {found.a} against {found.b}", sides, found.verdicts),
        Table("only-in-one", f"What only {found.a} or only {found.b} has", "Of trials, finished ones.", found.only),
    ]


def save(found: Comparison, out: Path) -> None:
    """Writes the tables of a comparison into the folder `out`."""
    write(tables(found), out, found.label_kind)


# ------------------------------------------------------------------------------------------------------- numbers


def _pairs(a: Sweep, b: Sweep) -> Iterator[dict[str, object]]:
    """One row a number that both sweeps have with its interval."""
    for suffix in ("", TWINS):
        for table, number, stem, by in MEASURES:
            if (suffix and table not in ("asymmetry", "ranks")) or (
                table == "ranks" and not _same_losses(a, b, suffix)
            ):
                continue
            left, right = (_numbers(sweep, table + suffix, number, stem, by) for sweep in (a, b))
            differ = _of_other_meaning(a, b) if table == "claims" else set()
            for row in (name for name in left if name in right and name not in differ):
                x, y = left[row], right[row]
                values = dict(zip(PAIRS[3:9], [*x[:3], *y[:3]], strict=True))
                shared = overlap(x.keys, y.keys)
                yield {"table": table + suffix, "row": row, "number": number, **values, "shared": shared}


class Number(NamedTuple):
    """A number, its interval and the keys of the trials that it rests on."""

    value: float
    low: float
    high: float
    keys: frozenset[str]


def _numbers(sweep: Sweep, table: str, number: str, stem: str, by: list[str]) -> dict[str, Number]:
    """One number of a table by the name of its row, where it has an interval."""
    if number not in sweep.frame(table, [*by, "keys"]):
        return {}
    low, high = f"{stem}_low", f"{stem}_high"
    frame = sweep.frame(table, [*by, number, low, high, "keys"]).dropna(subset=[number, low, high]).drop_duplicates(by)
    return {
        " · ".join(text(row[name]) for name in by): Number(
            row[number], row[low], row[high], _rests_on(sweep, table, number, row)
        )
        for row in frame.to_dict("records")
    }


def _rests_on(sweep: Sweep, table: str, number: str, row: dict[str, Any]) -> frozenset[str]:
    """Keys of the trials behind a number: a rank rests on those of all losses, a change on those of both sides, and
    what judges said of a loss on its training, too."""
    suffix = TWINS if table.endswith(TWINS) else ""
    if number == "iqa_rank":
        return _keys(sweep, f"fr_iqa_by_loss{suffix}")
    if table.removesuffix(TWINS) not in ("asymmetry", "ranks"):
        return frozenset(row["keys"].split())
    names = {row["discriminator"], "none"} if number == "corrected_change" else {row["discriminator"]}
    return _keys(sweep, f"asymmetry{suffix}", names) | _keys(sweep, f"counts{suffix}", names)


def _keys(sweep: Sweep, table: str, discriminators: set[str] | None = None) -> frozenset[str]:
    """All keys of a table, or of its rows of some discriminators."""
    frame = sweep.frame(table, ["keys"] if discriminators is None else ["discriminator", "keys"])
    rows = frame if discriminators is None else frame[frame["discriminator"].isin(discriminators)]
    return reduce(frozenset[str].union, (frozenset(keys.split()) for keys in rows["keys"]), frozenset[str]())


def _same_losses(a: Sweep, b: Sweep, suffix: str) -> bool:
    """A rank among six losses is not one among twenty-four."""
    factor = TWIN if suffix else LOSS
    return set(a.levels().get(factor, [])) == set(b.levels().get(factor, []))


# -------------------------------------------------------------------------------------------------------- claims


def _claims(a: Sweep, b: Sweep) -> pd.DataFrame:
    """One row a claim of either sweep: claim, says, verdict_a, verdict_b, differs."""
    columns = ["claim", "says", "verdict", *MEANING]
    left, right = ({row["claim"]: row for row in sweep.frame("claims", columns).to_dict("records")} for sweep in (a, b))
    rows = []
    for name in {**left, **right}:
        x, y = left.get(name, {}), right.get(name, {})
        differs = [field for field in MEANING if x and y and text(x[field]) != text(y[field])]
        verdicts = [side.get("verdict", "not claimed") for side in (x, y)]
        rows.append([name, (x or y)["says"], *verdicts, ", ".join(differs)])
    return pd.DataFrame(rows, columns=["claim", "says", "verdict_a", "verdict_b", "differs"])


def _of_other_meaning(a: Sweep, b: Sweep) -> set[str]:
    claims = _claims(a, b)
    return set(claims.loc[claims["differs"] != "", "claim"])


def _only(a: Sweep, b: Sweep) -> Iterator[tuple[str, str, str, str]]:
    """(what, level, the sweep that has it, keys) of levels and finished trials that only one of the sweeps has."""
    for here, there in ((a, b), (b, a)):
        other = there.levels()
        for factor, levels in here.levels().items():
            yield from ((factor, level, here.name, "") for level in levels if level not in other.get(factor, []))
        theirs = there.finished()
        yield from (("trial", name, here.name, key) for key, name in here.finished().items() if key not in theirs)


# ------------------------------------------------------------------------------------------------------- summary


def _tested(differences: pd.DataFrame) -> list[str]:
    tested = differences[differences["p"].notna()]
    if tested.empty:
        return ["No number was tested: none that both have with an interval rests on different trials."]
    changed, holm = (tested["verdict"] == CHANGED).sum(), (tested["p_holm"] <= 0.05).sum()
    return [
        f"{len(tested)} numbers tested, {changed} changed; {0.05 * len(tested):.1f} would by chance alone if nothing "
        f"had; {holm} remain after Holm's correction."
    ]


def _untested(a: Sweep, b: Sweep, differences: pd.DataFrame) -> list[str]:
    found, said = differences["verdict"].value_counts(), []
    if SAME in found:
        said.append(f"{found[SAME]} rest on the same trials in both and were not tested.")
    if NO_SPREAD in found:
        said.append(f"{found[NO_SPREAD]} differ, but their intervals have no width.")
    if hidden := _hidden(a, b):
        names = ", ".join(hidden)
        said.append(f"Not compared, hidden by noise in {a.name} or {b.name}: the correlation under {names}.")
    if not _same_losses(a, b, ""):
        said.append("Ranks were not compared: the sweeps rank different losses.")
    if (differences["shared"] == "some").any():
        said.append("Where some trials are shared the standard errors are as a rule too large.")
    return said


def _hidden(a: Sweep, b: Sweep) -> list[str]:
    """Discriminators with a correlation in both sweeps that in one of them cannot be corrected for noise."""
    frames = [sweep.frame("asymmetry", ["discriminator", "spearman", "corrected"]) for sweep in (a, b)]
    seen, known = (
        [set(frame.loc[frame[column].notna(), "discriminator"]) for frame in frames]
        for column in ("spearman", "corrected")
    )
    return sorted(seen[0] & seen[1] - (known[0] & known[1]))


def _turned(verdicts: pd.DataFrame) -> list[str]:
    turned = verdicts[verdicts["verdict_a"] != verdicts["verdict_b"]]
    said = [f"{row['claim']}: {row['verdict_a']}, now {row['verdict_b']}." for row in turned.to_dict("records")]
    other = verdicts[verdicts["differs"] != ""].to_dict("records")
    return said + [f"{row['claim']} is another claim in each: {row['differs']} differ." for row in other]


def _lone(only: pd.DataFrame) -> list[str]:
    said = []
    for (what, name), rows in only.groupby(["what", "only_in"], sort=False):
        levels = list(rows["level"])
        few = f"{what} {', '.join(levels[:6])}{f' and {len(levels) - 6} more' if len(levels) > 6 else ''}"
        said.append(f"Only in {name}: {f'{len(levels):,} finished trials' if what == 'trial' else few}.")
    return said
