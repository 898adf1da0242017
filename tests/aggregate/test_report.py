import io
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console
from typer import Typer
from typer.testing import CliRunner

from orchestrator.aggregate import __main__ as command
from orchestrator.aggregate.crops import CROP, busiest_window, enlarge
from orchestrator.aggregate.figures import GAP, HEAD, ROW_HEAD, ZOOM
from orchestrator.aggregate.report import ranks_view, view
from orchestrator.aggregate.writing import Table
from tests.aggregate.conftest import tree


@pytest.fixture(scope="module")
def runner():
    app = Typer()
    app.command()(command.main)
    return lambda *words: CliRunner().invoke(app, list(words))


@pytest.fixture(scope="module")
def written(filled, tmp_path_factory):
    """(summary, what was printed) of an aggregation of the filled store."""
    console = Console(record=True, width=200, quiet=False, file=io.StringIO())
    return command.aggregate(filled[0], tmp_path_factory.mktemp("out"), console), console.export_text()


def test_the_page_is_self_contained_and_says_what_it_is(written):
    page = written[0].report.read_text()
    assert "demonstration, not evidence" in page
    assert "severity labels, not human opinion" in page
    assert "<script" not in page
    assert not re.search(r'(?:src|href|srcset)="(?!data:|#)', page)


def test_tables_and_figures_are_written_and_the_summary_printed(written):
    summary, words = written
    expected = {
        "report.html",
        "tables/asymmetry.csv",
        "tables/ranks.parquet",
        "tables/missing.md",
        "figures/ranks.png",
        "figures/ranks.svg",
        "figures/strip-chelsea.png",
        "figures/strip-retina.svg",
    }
    assert expected <= set(tree(summary.out))
    assert "Asymmetry (demonstration, not evidence" in words
    assert f"{summary.done} of {summary.planned} trials are there" in words
    assert str(summary.report) in words


def test_a_second_run_writes_equal_files(filled, written, tmp_path):
    command.aggregate(filled[0], tmp_path, Console(quiet=True))
    assert tree(tmp_path) == tree(written[0].out)
    for file in tree(tmp_path):
        assert (tmp_path / file).read_bytes() == (written[0].out / file).read_bytes(), file


def test_strips_show_the_pixels_of_the_images(filled, written):
    strip = np.asarray(Image.open(written[0].out / "figures/strip-chelsea.png").convert("RGB"))
    bicubic = strip[HEAD + ROW_HEAD :, CROP * ZOOM + GAP :][: CROP * ZOOM, : CROP * ZOOM]
    image = np.asarray(Image.open(next(filled[2].root.glob("restoration/*/reference/chelsea.png"))))
    top, left = busiest_window(image, CROP, 4)
    assert np.array_equal(bicubic, enlarge(image[top : top + CROP, left : left + CROP], ZOOM))


def test_an_empty_store_still_gives_a_page(tiny, tmp_path, runner):
    path, _, _ = tiny
    result = runner("--grid", str(path), "--out", str(tmp_path / "out"))
    assert result.exit_code == 0
    assert "0 of" in result.output
    assert (tmp_path / "out/report.html").exists()


def test_the_last_sweep_is_the_default(tiny, tmp_path, runner, monkeypatch):
    path, _, _ = tiny
    monkeypatch.chdir(tmp_path)
    result = runner()
    assert result.exit_code == 2
    assert result.output.splitlines() == [
        "results/last_sweep: not there, so no sweep ran here; name a grid, e.g. --grid grids/demo.yaml"
    ]
    (tmp_path / "results").mkdir()
    (tmp_path / "results/last_sweep").write_text(f"{path}\n")
    assert runner().exit_code == 0
    assert (tmp_path / "results/tiny/report.html").exists()


def test_a_wrong_grid_is_one_line_and_exit_2(tmp_path, runner):
    result = runner("--grid", str(tmp_path / "nowhere.yaml"))
    assert result.exit_code == 2
    assert len(result.output.splitlines()) == 1
    assert "nowhere.yaml" in result.output


def test_views_fold_bounds_spread_and_counts_into_few_columns():
    frame = pd.DataFrame(
        {
            "discriminator": ["none"],
            "spearman": [0.5],
            "spearman_low": [0.1],
            "spearman_high": [0.9],
            "seeds": [1],
            "seeds_planned": [2],
            "trials": [3],
            "trials_planned": [4],
            "keys": ["k"],
        }
    )
    shown = view(Table("asymmetry", "", "", frame))
    assert [(c.text, c.beside) for c in shown.rows[0][1]] == [
        ("none", ""),
        ("0.500", "0.100 to 0.900"),
        ("1 of 2", ""),
        ("3 of 4", ""),
    ]
    assert shown.rows[0][0] == "keys: k"


def test_ranks_are_laid_out_by_discriminator_with_keys_in_each_cell():
    bounds = {
        f"{name}_{end}": [1.0, 2.0] for name in ("iqa_rank", "optimization_rank", "shift") for end in ("low", "high")
    }
    frame = pd.DataFrame(
        {
            "loss": "a",
            "discriminator": ["none", "patch"],
            "iqa_rank": 1.0,
            "optimization_rank": [1.5, 2.0],
            "shift": [0.5, 1.0],
            **bounds,
            "seeds": 1,
            "seeds_planned": 2,
            "keys": ["k", "m"],
        }
    )
    row = ranks_view(Table("ranks", "", "", frame)).rows[0][1]
    assert [(c.text, c.keys) for c in row] == [("a", ""), ("1", ""), ("1.5", "keys: k"), ("2", "keys: m")]
    assert row[3].beside.splitlines() == ["2 to 2", "shift +1 (2 to 2)", "1 of 2 seeds"]


def test_names_are_escaped(tiny, tmp_path, monkeypatch):
    path, _, _ = tiny
    read = command.scores.read

    def hostile(grid_path):
        evidence = read(grid_path)
        object.__setattr__(evidence, "name", "<b>&")
        return evidence

    monkeypatch.setattr(command.scores, "read", hostile)
    page = command.aggregate(path, tmp_path / "out", Console(quiet=True)).report.read_text()
    assert "&lt;b&gt;&amp;" in page
    assert "<b>&" not in page
