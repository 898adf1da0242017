"""Tables for a paper: booktabs, floats or, where long, longtables; wide ones in landscape and in panels, so that
nothing runs off a page. A file is used with \\input; its preamble needs `PACKAGES`. `document` inputs them all.

What every row has in common is said below a table instead of in a column, and notes on single rows are footnotes.
"""

import math
import re
import string
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from orchestrator.aggregate.folding import HOLE, Column, columns
from orchestrator.aggregate.latex_text import MAY_BREAK, escape, points

PACKAGES = "array,booktabs,longtable,pdflscape"
PORTRAIT, LANDSCAPE = 345, 550
"""Points of a line in an article with LaTeX's own margins."""
FLOAT_LINES = {PORTRAIT: 44, LANDSCAPE: 24}
"""Lines that a table may have on one page, beside its caption; a longer one is a longtable."""
MOST_ROWS = 1_000
GAP, NEAR = 6, 3
"""Points between two columns, and between a value and what stands beside it."""
LONG, LINE = 30, 125
"""A column of text with more characters than this is broken into lines of so many points."""
NOTE = "note"
"""A column that says something on single rows."""
SETTING = r"\footnotesize\setlength{\tabcolsep}{3pt}"


@dataclass(frozen=True)
class Cells:
    """One column of a tabular: LaTeX's preamble for it, its heading and cells, and how many points wide it is."""

    preamble: str
    heading: str
    cells: list[str]
    width: float


@dataclass(frozen=True)
class Laid:
    """What is to be typeset: columns, each with what stands beside it, the lines that the rows take, and the notes."""

    columns: list[list[Cells]]
    lines: int
    notes: list[str]


def typeset(name: str, title: str, caption: str, frame: pd.DataFrame, comment: str = "") -> str:
    """The LaTeX of one table, for \\input: the caption and the columns of `frame` folded, labelled tab:`name`.
    `title` and `caption` are plain text; `comment` goes into the file alone."""
    head = [f"% \\usepackage{{{PACKAGES}}}", *(f"% {line}" for line in textwrap.wrap(comment, 110))]
    said = rf"\caption[{{{escape(title)}}}]{{\textbf{{{escape(title)}.}} {escape(caption)}}}\label{{tab:{name}}}"
    if frame.empty:
        return "\n".join([*head, r"\begin{table}[htbp]", r"\centering", said, "No rows.", r"\end{table}", ""])
    laid = _laid(frame)
    size, panels = _pages(laid.columns)
    short = len(panels) * (laid.lines + 4) + len(laid.notes) <= FLOAT_LINES[size]
    body = (_float if short else _longtable)(panels, said, [f"{escape(note)}\\par" for note in laid.notes])
    if size == LANDSCAPE:
        body = [r"\begin{landscape}", *body, r"\end{landscape}"]
    return "\n".join([*head, *body, ""])


def _laid(frame: pd.DataFrame) -> Laid:
    """Its first column stays; of the others those that are equal in every row become a note, and notes on rows
    footnotes."""
    first, *others = columns(frame.iloc[:MOST_ROWS])
    common = [c for c in others if len(first.cells) > 1 and len({*zip(c.cells, c.beside or c.cells, strict=True)}) == 1]
    varied = [c for c in others if c not in common]
    marks, notes = _footnotes(next((c.cells for c in varied if c.name == NOTE), [""] * len(first.cells)))
    kept = [c for c in varied if c.name != NOTE]
    said = [_common(common)] if common else []
    if len(frame) > MOST_ROWS:
        said.insert(0, f"The first {MOST_ROWS:,} of {len(frame):,} rows; the CSV and Parquet files hold all.")
    laid = [_cells(first, marks), *(_cells(column) for column in kept)]
    lines = [max(math.ceil(len(column.cells[i]) / LONG) for column in (first, *kept)) for i in range(len(first.cells))]
    return Laid(laid, sum(lines), [*said, *notes])


def _common(same: Sequence[Column]) -> str:
    """What every row has in common, in words."""
    full = [c for c in same if c.cells[0] not in ("", HOLE)]
    empty = [c.heading for c in same if c not in full and c.name != NOTE]
    beside = [f" ({c.beside[0]})" if c.beside and c.beside[0] else "" for c in full]
    parts = [f"{c.heading}: {c.cells[0]}{more}" for c, more in zip(full, beside, strict=True)]
    sentences = [f"In every row: {'; '.join(parts)}."] if parts else []
    return " ".join([*sentences, *([f"Empty in every row: {', '.join(empty)}."] if empty else [])])


def _footnotes(cells: Sequence[str]) -> tuple[list[str], list[str]]:
    """(the mark of each row, the notes): equal notes share a mark."""
    distinct = [note for note in dict.fromkeys(cells) if note not in ("", HOLE)]
    marks = {note: _mark(i) for i, note in enumerate(distinct)}
    return [marks.get(note, "") for note in cells], [f"({marks[note]}) {note}" for note in distinct]


def _mark(i: int) -> str:
    """a to z, then aa, ab, ..."""
    return (_mark(i // 26 - 1) if i >= 26 else "") + string.ascii_lowercase[i % 26]


def _cells(column: Column, marks: Sequence[str] = ()) -> list[Cells]:
    """The column, and where something stands beside it, a second one for that."""
    longest = max(map(len, column.cells))
    broken = not column.number and longest > LONG
    plain = [(_numeral if column.number else _breakable)(cell) for cell in column.cells]
    wide = LINE if broken else max(map(points, [*plain, *column.heading.split()]))
    texts = [escape(cell) for cell in plain]
    if any(marks):
        wide += points("(a)")
        texts = [rf"{t}\textsuperscript{{({m})}}" if m else t for t, m in zip(texts, marks, strict=True)]
    preamble = rf">{{\raggedright}}p{{{LINE}pt}}" if broken else "r" if column.number else "l"
    laid = [Cells(preamble, _stacked(column.heading, longest, preamble[0]), texts, wide)]
    if any(column.beside):
        head = _stacked(column.beside_heading, max(map(len, column.beside)), "r")
        between = [_numeral(cell) for cell in column.beside]
        wide = NEAR + max(map(points, between))
        laid.append(Cells(rf"@{{\hspace{{{NEAR}pt}}}}r", head, [escape(cell) for cell in between], wide))
    return laid


def _numeral(words: str) -> str:
    """A number, a count or an interval, with true minus signs; intervals in brackets."""
    return re.sub(r"^(\S+) to (\S+)$", r"[\1, \2]", words).replace("-", "−")


def _breakable(words: str) -> str:
    """Long names may break where they have a _ or a /, and words that no line holds anywhere."""
    apart = re.sub(rf"[^\s_/-]{{{LONG},}}", lambda word: MAY_BREAK.join(textwrap.wrap(word[0], LONG // 3)), words)
    return re.sub(r"([_/])(?=\S)", rf"\1{MAY_BREAK}", apart)


def _stacked(heading: str, width: int, align: str) -> str:
    """A heading on as many lines as the width of its column asks for."""
    lines = [escape(line) for line in textwrap.wrap(heading, max(width, 1), break_long_words=False)]
    if len(lines) < 2:
        return "".join(lines)
    stack = r"\\".join(lines)
    return rf"\begin{{tabular}}[b]{{@{{}}{'r' if align == 'r' else 'l'}@{{}}}}{stack}\end{{tabular}}"


def _width(column: Sequence[Cells]) -> float:
    return sum(part.width for part in column) + GAP


def _pages(laid: Sequence[list[Cells]]) -> tuple[int, list[list[Cells]]]:
    """(points of a line, panels): upright, unless the table takes fewer panels in landscape."""
    upright, turned = _panels(laid, PORTRAIT), _panels(laid, LANDSCAPE)
    return (PORTRAIT, upright) if len(upright) == len(turned) else (LANDSCAPE, turned)


def _panels(laid: Sequence[list[Cells]], size: int) -> list[list[Cells]]:
    """The columns in as few panels as lines of `size` points allow, about equally wide. Each begins with the
    columns that name the row: the first, and further ones of text that leave half a line free."""
    names = 1
    while names < len(laid) and laid[names][0].preamble == "l" and sum(map(_width, laid[: names + 1])) <= size // 2:
        names += 1
    fewest = len(_filled(laid, names, size))
    panels = next(panels for line in range(1, size + 1) if len(panels := _filled(laid, names, line)) == fewest)
    return [[part for column in panel for part in column] for panel in panels]


def _filled(laid: Sequence[list[Cells]], names: int, line: int) -> list[list[list[Cells]]]:
    """Panels that are filled one after the other; a column that is wider than a line has one of its own."""
    panels = [list(laid[:names])]
    for column in laid[names:]:
        if len(panels[-1]) > names and sum(map(_width, [*panels[-1], column])) > line:
            panels.append(list(laid[:names]))
        panels[-1].append(column)
    return panels


def _float(panels: Sequence[Sequence[Cells]], caption: str, notes: Sequence[str]) -> list[str]:
    tabulars = [
        "\n".join(
            [
                r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
                rf"\begin{{tabular}}{{{_preamble(panel)}}}",
                *_head(panel),
                *_rows(panel),
                r"\bottomrule",
                r"\end{tabular}}",
            ]
        )
        for panel in panels
    ]
    body = "\n\\par\\medskip\n".join(tabulars)
    below = [r"\par\smallskip\raggedright", *notes] if notes else []
    return [r"\begin{table}[htbp]", r"\centering", caption, r"\par\smallskip", SETTING, body, *below, r"\end{table}"]


def _longtable(panels: Sequence[Sequence[Cells]], caption: str, notes: Sequence[str]) -> list[str]:
    lines = [r"\begingroup", SETTING, r"\setlength{\LTcapwidth}{\linewidth}"]
    for i, panel in enumerate(panels):
        again = rf"\caption*{{\tablename~\thetable, {'continued' if i == 0 else 'further columns'}}}\tabularnewline"
        lines += [
            *([r"\addtocounter{table}{-1}"] if i else []),
            rf"\begin{{longtable}}{{{_preamble(panel)}}}",
            *([again] if i else [rf"{caption}\tabularnewline", *_head(panel), r"\endfirsthead", again]),
            *_head(panel),
            r"\endhead",
            r"\bottomrule",
            r"\endfoot",
            *_rows(panel),
            r"\end{longtable}",
        ]
    return [*lines, *([r"\noindent\raggedright", *notes] if notes else []), r"\endgroup"]


def _preamble(panel: Sequence[Cells]) -> str:
    return f"@{{}}{''.join(part.preamble for part in panel)}@{{}}"


def _head(panel: Sequence[Cells]) -> list[str]:
    return [r"\toprule", _row([part.heading for part in panel]), r"\midrule"]


def _rows(panel: Sequence[Cells]) -> list[str]:
    rows, named = zip(*(part.cells for part in panel), strict=True), panel[0].cells
    starts = [i > 0 and named[i] != named[i - 1] for i in range(len(named))]
    grouped = sum(starts) + 1 == len(set(named)) <= len(named) / 2  # rows of a name lie together, two or more
    return [
        f"\\addlinespace\n{_row(row)}" if grouped and new else _row(row) for new, row in zip(starts, rows, strict=True)
    ]


def _row(cells: Sequence[str]) -> str:
    return rf"{' & '.join(cells)} \tabularnewline"


def document(names: Sequence[str]) -> str:
    """A document that inputs the tables of these names from its own folder: pdflatex all.tex, twice, since longtables
    learn the widths of their columns on the first run."""
    inputs = [rf"\input{{{name}}}\clearpage" for name in names]
    return "\n".join(
        [
            "% pdflatex all.tex, twice: longtables learn the widths of their columns on the first run",
            r"\documentclass{article}",
            r"\usepackage[a4paper,margin=20mm]{geometry}",
            rf"\usepackage{{{PACKAGES}}}",
            r"\begin{document}",
            *inputs,
            r"\end{document}",
            "",
        ]
    )
