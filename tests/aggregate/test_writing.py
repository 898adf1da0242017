import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from orchestrator.aggregate import latex
from orchestrator.aggregate.folding import columns, short, text
from orchestrator.aggregate.latex_text import escape
from orchestrator.aggregate.writing import Table, markdown, tex, write
from orchestrator.matrix import OPINION, SEVERITY

HOSTILE = [
    "a_b%c#d",
    "\\evil{x}$y$&z~^",
    '[x] *y* <z> |w| "q" `b`',
    "* starts",
    "déjà Ångström ñ ı ρ Σ µ",
    "中文 😀",
    "a--b '' …",
]


def rows_of(n, **more):
    """A frame as asymmetry's: n rows, an interval, a lone interval, a deviation, counts, and keys."""
    value = np.linspace(-0.9, 0.9, n)
    frame = pd.DataFrame(
        {
            "discriminator": [f"patch-backbone{i}-released" for i in range(n)],
            "spearman": value,
            "spearman_low": value - 0.1,
            "spearman_high": value + 0.1,
            "like_low": value - 0.2,
            "like_high": value + 0.2,
            "srcc": value,
            "srcc_sd": [0.25] * (n - 1) + [np.nan],
            "seeds": range(n),
            "seeds_planned": n,
            "keys": "0123456789abcdef",
        }
    )
    return frame.assign(**more)


def outer_tables(source):
    """(number of columns, rows as lists of cells) of each tabular or longtable, without those inside of headings."""
    plain = re.sub(r"\\begin\{tabular\}\[b\].*?\\end\{tabular\}", "heading", source)
    for _, preamble, body in re.findall(
        r"\\begin\{(tabular|longtable)\}\{([^\n]*)\}\n(.*?)\\end\{\1\}", plain, re.DOTALL
    ):
        letters = re.sub(r"[@>]\{(\\hspace\{\d+pt\}|\\raggedright|)\}|\{\d+pt\}", "", preamble)
        lines = [
            line.removesuffix(r" \tabularnewline") for line in body.splitlines() if line.endswith(r" \tabularnewline")
        ]
        yield letters, [re.split(r"(?<!\\) & ", line) for line in lines]


def assert_sound(source):
    """Environments and braces are balanced, every row has as many cells as its table columns, and no special letter
    stands for itself."""
    source = "\n".join(line for line in source.splitlines() if not line.startswith("%"))
    left = []
    for word, name in re.findall(r"\\(begin|end)\{(\w+)\}", source):
        if word == "begin":
            left.append(name)
        else:
            assert left.pop() == name
    assert not left
    bare = re.sub(r"\\[{}$&#_%\\]", "", source)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert bare.isascii()
    assert "#" not in bare
    assert "_" not in re.sub(r"\\(label|input)\{.*?\}", "", bare)
    assert "%" not in bare.replace("{!}{%", "")
    for letters, rows in outer_tables(source):
        assert re.fullmatch("[lrp]+", letters)
        assert rows
        assert {len(row) for row in rows} == {len(letters)}


@pytest.mark.parametrize(
    ("plain", "typeset"),
    [
        ("50 % of #1 & a_b", r"50 \% of \#1 \& a\_b"),
        ("\\{x}$", r"\textbackslash{}\{x\}\$"),
        ("~^<>|", r"\textasciitilde{}\textasciicircum{}\textless{}\textgreater{}\textbar{}"),
        ("[1] *", "{[}1{]} {*}"),
        ("é ï Å ç ß", r"\'{e} \"{\i} \r{A} \c{c} \ss{}"),
        ("ρ Σ λ µ ±", r"$\rho$ $\Sigma$ $\lambda$ $\mu$ $\pm$"),
        ("中", r"\texttt{U+4E2D}"),
        ("a--b", r"a-\allowbreak{}-b"),
        ("two\nlines\x00", "two lines "),
    ],
)
def test_every_letter_is_typeset_or_named(plain, typeset):
    assert escape(plain) == typeset


def test_what_belongs_to_a_number_is_folded_beside_it():
    shown = {column.name: column for column in columns(rows_of(3))}
    assert list(shown) == ["discriminator", "spearman", "like", "srcc", "seeds"]
    assert shown["spearman"].cells == ["-0.900", "0.000", "0.900"]
    assert shown["spearman"].beside == ["-1.000 to -0.800", "-0.100 to 0.100", "0.800 to 1.000"]
    assert (shown["spearman"].heading, shown["spearman"].beside_heading) == ("Spearman ρ", "95 % interval")
    assert shown["like"].cells == ["-1.100 to -0.700", "-0.200 to 0.200", "0.700 to 1.100"]
    assert shown["like"].heading == "95 %, losses like these"
    assert shown["srcc"].beside == ["± 0.250", "± 0.250", ""]
    assert shown["seeds"].cells == ["0 of 3", "1 of 3", "2 of 3"]
    assert [column.number for column in shown.values()] == [False, True, True, True, True]


def test_holes_are_dashes_and_the_bounds_of_the_change_are_its_own():
    frame = pd.DataFrame(
        {"corrected_change": [np.nan, 0.5], "change_low": [np.nan, 0.25], "change_high": [np.nan, 1.0]}
    )
    (column,) = columns(frame.assign(keys=""))
    assert (column.cells, column.beside) == (["–", "0.500"], ["", "0.250 to 1.000"])


@pytest.mark.parametrize(
    ("value", "shown"), [(1.0, "1"), (2.5, "2.5"), (-0.0, "0"), (1e-4, "0.0001"), (1 / 3, "0.333")]
)
def test_ranks_and_weights_have_no_more_decimals_than_they_need(value, shown):
    assert short(value) == shown
    assert columns(pd.DataFrame({"iqa_rank": [value]}))[0].cells == [shown]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.12345, "0.123"),
        (0.0001, "<0.001"),
        (-0.0001, "0.000"),
        (float("nan"), ""),
        (None, ""),
        (True, "yes"),
        (3, "3"),
    ],
)
def test_cells_for_people(value, shown):
    assert text(value) == shown


def test_markdown_is_folded_and_names_the_labels():
    words = markdown(Table("small", "Small", "A note.", rows_of(2), "A method."), SEVERITY)
    assert f"**demonstration, not evidence** · labels: {SEVERITY}" in words
    assert "| discriminator | Spearman ρ (95 % interval) | 95 %, losses like these | SRCC (± sd) | seeds |" in words
    assert "|---|---:|---:|---:|---:|" in words
    assert (
        "| patch-backbone0-released | -0.900 (-1.000 to -0.800) | -1.100 to -0.700 | -0.900 (± 0.250) | 0 of 2 |"
        in words
    )
    assert "0123456789abcdef" not in words
    assert "A note.\nA method.\n" in words
    assert "**" not in markdown(Table("small", "Small", "", rows_of(2)), OPINION)


def test_no_name_breaks_a_markdown_row():
    words = markdown(Table("small", "Small", "", pd.DataFrame({"loss": ["a|b", "c\nd"], "srcc": [0.5, 1.0]})), OPINION)
    assert words.splitlines()[-2:] == ["| a\\|b | 0.500 |", "| c d | 1.000 |"]


def test_files_for_machines_hold_everything(tmp_path):
    frame = rows_of(2, spearman=1 / 3)
    paths = write([Table("small", "Small", "", frame)], tmp_path, SEVERITY)
    assert [path.name for path in paths] == ["small.csv", "small.parquet", "small.md", "small.tex"]
    assert pd.read_parquet(tmp_path / "small.parquet").equals(frame)
    assert pd.read_csv(tmp_path / "small.csv")["spearman"].tolist() == [1 / 3, 1 / 3]
    assert r"\input{small}" in (tmp_path / "all.tex").read_text()


def test_a_caption_says_what_the_labels_are_and_numbers_stand_in_columns_of_their_own():
    source = tex(Table("small", "100 % of it", "A note_1.", rows_of(2), "A method."), SEVERITY)
    assert r"\caption[{100 \% of it}]{\textbf{100 \% of it.} Demonstration, not evidence. Labels: " in source
    assert rf"Labels: {SEVERITY}. A note\_1.}}\label{{tab:small}}" in source
    assert source.startswith("% \\usepackage{array,booktabs,longtable,pdflscape}\n% A method.\n")
    ((letters, rows),) = outer_tables(source)
    assert letters == "lrrrrrr"
    assert rows[1] == [
        "patch-backbone0-released",
        "$-$0.900",
        "{[}$-$1.000, $-$0.800{]}",
        "{[}$-$1.100, $-$0.700{]}",
        "$-$0.900",
        r"$\pm$ 0.250",
        "0 of 2",
    ]
    assert "Demonstration" not in tex(Table("small", "Small", "", rows_of(2)), OPINION)


def test_what_all_rows_share_is_said_once_and_notes_are_footnotes():
    frame = rows_of(3, losses=6, p_method="exact", spare="", note=["", "one seed only", ""])
    source = tex(Table("small", "Small", "", frame), OPINION)
    assert "In every row: losses: 6; p method: exact. Empty in every row: spare." in source
    assert r"patch-backbone1-released\textsuperscript{(a)} & " in source
    assert "(a) one seed only" in source
    alone = tex(Table("small", "Small", "", frame.iloc[:1]), OPINION)
    assert "In every row" not in alone
    assert "exact" in alone


def test_long_tables_are_longtables_with_a_gap_between_groups():
    frame = pd.DataFrame({"loss": np.repeat(["a", "b"], 40), "value": range(80)})
    source = tex(Table("long", "Long", "", frame), OPINION)
    assert r"\begin{longtable}{@{}lr@{}}" in source
    assert source.count(r"\addlinespace") == 1
    assert r"\endfirsthead" in source
    assert r"\begin{table}" not in source
    assert_sound(source)


def test_a_table_beyond_what_anybody_prints_says_how_much_is_left_out():
    frame = pd.DataFrame({"trial": [f"t{i}" for i in range(latex.MOST_ROWS + 5)], "value": range(latex.MOST_ROWS + 5)})
    source = tex(Table("long", "Long", "", frame), OPINION)
    assert "The first 1,000 of 1,005 rows; the CSV and Parquet files hold all." in source
    assert "t999 " in source
    assert "t1000 " not in source


def test_wide_tables_are_turned_and_cut_into_panels_that_name_their_rows():
    wide = rows_of(3, **{f"another_number_{i}": [1.5, 2.5, i] for i in range(14)})
    source = tex(Table("wide", "Wide", "", wide), OPINION)
    assert source.count(r"\begin{landscape}") == 1
    tables = list(outer_tables(source))
    assert len(tables) == 2
    assert all(rows[1][0] == "patch-backbone0-released" for _, rows in tables)
    assert sum(len(letters) for letters, _ in tables) == 7 + 14 + 1
    assert_sound(source)


def hostile_tables():
    frame = pd.DataFrame({"loss_{%}": HOSTILE, "value": np.arange(7.0), "text": ["w_" * 90, "x" * 70, *["words"] * 5]})
    wide = rows_of(9, **{f"another_number_{i}": np.arange(9) + i for i in range(14)})
    long = pd.DataFrame({"loss": np.repeat(HOSTILE, 12), "value": range(84), "text": "MW " * 30})
    return [
        Table("hostile", "100 % _hostile_ {names} \\", "A note with $, & and #.", frame),
        Table("wide", "Wide", "Panels.", wide, "Made in a % way."),
        Table("long", "Long", "Over pages.", long.assign(note=["", "why_not"] * 42)),
        Table("long-and-wide", "Both", "", pd.concat([wide] * 9).assign(note="odd")),
        Table("empty", "Empty", "", pd.DataFrame({"keys": []})),
    ]


@pytest.mark.parametrize("table", hostile_tables(), ids=lambda table: table.name)
def test_no_name_breaks_a_table(table):
    assert_sound(tex(table, SEVERITY))


def compiled(folder, file):
    """What pdflatex says of a document, which it must be able to make."""
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", file]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=120)
    assert ended.returncode == 0, ended.stdout[-2000:]
    assert (folder / file).with_suffix(".pdf").exists()
    return ended.stdout


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="needs pdflatex; test_no_name_breaks_a_table needs nothing")
def test_every_table_compiles_and_nothing_runs_off_a_page(tmp_path):
    write(hostile_tables(), tmp_path, SEVERITY)
    said = compiled(tmp_path, "all.tex")
    assert "Overfull" not in said
    assert "Float too large" not in said
    inputs = "".join(rf"\input{{{table.name}}}\clearpage " for table in hostile_tables())
    packages = rf"\usepackage{{{latex.PACKAGES}}}"
    document = rf"\documentclass{{article}}{packages}\begin{{document}}{inputs}\end{{document}}"
    (tmp_path / "minimal.tex").write_text(document)
    said = compiled(tmp_path, "minimal.tex")
    assert "Overfull" not in said
    assert "Float too large" not in said
