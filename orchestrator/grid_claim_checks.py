"""What is wrong with the claims of a grid: names that it does not have, sides that are empty or overlap, pairs that
never meet."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from orchestrator import matrix, spec, yaml_lines
from orchestrator.grid_errors import Fault, found
from orchestrator.sections import Agreement, AgreementChange, Claim, Difference, Grid, Levels, Trend, Upset
from orchestrator.sections.claims import ADVERSARIAL, ALL, FACTORS, meant, selected

Contrast = Difference | Trend
Row = dict[str, Any]
"""A planned value of a measure: factor -> level, "" for a factor that does not apply to it."""


def check_claims(claims: Mapping[str, Claim], grid: Grid) -> Iterator[Fault]:
    """Faults of claims that rest on the trials of `grid`, whichever grid states them."""
    rows = {measure: list(_rows(grid, measure)) for measure in FACTORS} if claims else {}
    for name, claim in claims.items():
        path = ("claims", name)
        yield from _check_repeats(path, claim)
        match claim:
            case Agreement():
                yield from _check_discriminators(
                    (*path, "discriminators"), claim.discriminators, grid, ALL, ADVERSARIAL
                )
            case AgreementChange():
                yield from _check_change(path, claim, grid)
            case Upset():
                yield from _check_upset(path, claim, grid)
            case Difference() | Trend():
                yield from _check_contrast(path, claim, grid, rows[claim.measure])


def _check_repeats(path: yaml_lines.Path, section: Claim | Levels) -> Iterator[Fault]:
    for field, value in section:
        if isinstance(value, Levels):
            yield from _check_repeats((*path, field), value)
        for i, item in enumerate(value) if isinstance(value, tuple) else ():
            if item in value[:i]:
                yield (*path, field, i), f"found {item!r} a second time; allowed: each once"


def _check_discriminators(path: yaml_lines.Path, words: Iterable[str], grid: Grid, *others: str) -> Iterator[Fault]:
    """Words are names of discriminators or among `others`, and mean at least one discriminator."""
    names = [level.name for level in grid.discriminators()]
    strangers = [(i, word) for i, word in enumerate(words) if word not in (*names, *others)]
    for i, word in strangers:
        yield (*path, i), found(word, [*names, *others])
    if not strangers and not meant(words, names):
        yield path, f"found {ADVERSARIAL!r}, but the matrix has no discriminator besides none"


def _check_change(path: yaml_lines.Path, claim: AgreementChange, grid: Grid) -> Iterator[Fault]:
    faults = list(_check_discriminators((*path, "of"), claim.of, grid, ADVERSARIAL))
    yield from faults
    names = [level.name for level in grid.discriminators()]
    if claim.over not in names:
        yield (*path, "over"), found(claim.over, names)
    if not faults and claim.over in meant(claim.of, names):
        yield (*path, "over"), f"found {claim.over!r}, which is in of too; allowed: one of them"


def _check_upset(path: yaml_lines.Path, claim: Upset, grid: Grid) -> Iterator[Fault]:
    losses = list(grid.matrix.loss)
    if claim.loss not in losses:
        yield (*path, "loss"), found(claim.loss, losses)
    for i, loss in enumerate(claim.over):
        others = [other for other in losses if other != claim.loss]
        if loss not in others:
            yield (*path, "over", i), found(loss, others)
    yield from _check_discriminators((*path, "discriminators"), claim.discriminators, grid, ALL, ADVERSARIAL)


def _check_contrast(path: yaml_lines.Path, claim: Contrast, grid: Grid, rows: list[Row]) -> Iterator[Fault]:
    if claim.measure == "srcc" and not grid.matrix.initialization:
        yield (*path, "measure"), "found 'srcc', but the matrix has no initialization; allowed: quality, stability"
        return
    yield from _check_judges(path, claim, grid)
    yield from _check_pairs(path, claim)
    faults = [fault for name, side in _sides(claim) for fault in _strangers((*path, name), side, claim.measure, rows)]
    yield from faults or _check_cells(path, claim, rows)


def _sides(claim: Contrast) -> list[tuple[str, Levels]]:
    return [("of", claim.of)] if claim.over is None else [("of", claim.of), ("over", claim.over)]


def _check_judges(path: yaml_lines.Path, claim: Contrast, grid: Grid) -> Iterator[Fault]:
    if claim.judges and claim.measure != "quality":
        yield (*path, "judges"), f"found judges of {claim.measure}; allowed: judges where the measure is quality"
        return
    judges = list(grid.judges.families())
    for i, judge in enumerate(claim.judges or ()):
        if judge not in judges:
            yield (*path, "judges", i), found(judge, judges, "judges")


def _check_pairs(path: yaml_lines.Path, claim: Contrast) -> Iterator[Fault]:
    along = claim.along if isinstance(claim, Trend) else None
    factors = [factor for factor in FACTORS[claim.measure] if factor != along]
    over = (claim.over or claim.of).named()
    for i, factor in enumerate(claim.pairs):
        if factor not in factors:
            yield (*path, "pairs", i), found(factor, factors, f"factors of {claim.measure}")
        elif len(claim.of.named().get(factor, ())) == len(over.get(factor, ())) == 1:
            yield (*path, "pairs", i), f"found {factor!r}, which has one level on each side; allowed: those with more"
    if claim.unit not in ("pair", *claim.pairs):
        yield (*path, "unit"), found(claim.unit, ["pair", *(unit for unit in ("seed", "loss") if unit in claim.pairs)])


def _strangers(path: yaml_lines.Path, side: Levels, measure: str, rows: list[Row]) -> Iterator[Fault]:
    """Factors that the measure does not have, and levels that the grid does not have."""
    for factor, levels in side.named().items():
        if factor not in FACTORS[measure]:
            yield (*path, factor), found(factor, FACTORS[measure], f"factors of {measure}")
            continue
        allowed = [level for level in dict.fromkeys(row[factor] for row in rows) if level != ""]
        allowed += [ADVERSARIAL] if factor == "discriminator" else []
        for i, level in enumerate(levels):
            if not allowed:
                yield (*path, factor), f"found {factor}, but the matrix has no level of it; allowed: other factors"
            elif level not in allowed:
                yield (*path, factor, i), found(level, allowed)


def _check_cells(path: yaml_lines.Path, claim: Contrast, rows: list[Row]) -> Iterator[Fault]:
    """Each side has cells, none is on both, and some are alike in all of `pairs`."""
    chosen = {name: [row for row in rows if selected(side, row)] for name, side in _sides(claim)}
    for name, cells in chosen.items():
        if not cells:
            yield (*path, name), "found levels that no cell has together; allowed: levels that meet"
        elif isinstance(claim, Trend) and len({row["weight"] for row in cells} - {"", 0.0}) < 2:
            yield (*path, name), "found fewer than two weights above 0 to draw a trend through; allowed: two or more"
    if not all(chosen.values()) or claim.over is None:
        return
    of, over = chosen["of"], chosen["over"]
    if both := [row for row in of if selected(claim.over, row)]:
        shown = ", ".join(f"{factor} {level}" for factor, level in both[0].items() if level != "")
        yield (*path, "over"), f"found cells that of has too, such as {shown}; allowed: each cell on one side"
        return
    pairs = [factor for factor in claim.pairs if factor in FACTORS[claim.measure]]
    matched = {tuple(row[factor] for factor in pairs) for row in of}
    if not any(tuple(row[factor] for factor in pairs) in matched for row in over):
        yield (*path, "pairs"), "found factors in which no cell of one side is like one of the other; allowed: fewer"


def _rows(grid: Grid, measure: str) -> Iterator[Row]:
    """Each value of the measure that the grid plans, once; twins are in no claim."""
    losses = set(grid.matrix.loss)
    values = (_row(cell, measure) for cell in matrix.cells(grid) if cell.loss in losses)
    return (dict(row) for row in dict.fromkeys(tuple(row.items()) for row in values))


def _row(cell: matrix.Cell, measure: str) -> Row:
    level = cell.discriminator
    of_srcc = {"task": cell.task, "backbone": cell.backbone, "initialization": cell.initialization, "seed": cell.seed}
    weight = level.weight.times if isinstance(level.weight, spec.Calibrated) else level.weight
    row: Row = {
        "loss": cell.loss,
        "discriminator": level.name,
        "head": level.head,
        "backbone": level.backbone,
        "start": level.start,
        "weight": "" if weight is None else weight,
        "seed": cell.seed,
    }
    if measure == "srcc":  # only a gan initialization comes from a loss and a discriminator
        row = dict.fromkeys(row, "") | of_srcc if cell.initialization != "gan" else row | of_srcc
    return {factor: row[factor] for factor in FACTORS[measure]}
