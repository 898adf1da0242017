"""The command: a folder of results from the store alone."""

import io

import pytest
from rich.console import Console
from typer import Typer
from typer.testing import CliRunner

from orchestrator.aggregate import __main__ as command
from tests.aggregate.conftest import tree
from tests.aggregate.page_material import Page


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


def test_tables_figures_and_a_page_are_written_and_the_summary_printed(written):
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


def test_the_page_is_sound_and_all_its_links_lead_somewhere(written):
    page = Page(written[0].report.read_text())
    ids = [found["id"] for _, found, _ in page.elements if "id" in found]
    assert len(ids) == len(set(ids))
    assert {found["href"][1:] for found, _ in page.all("a") if found["href"].startswith("#")} <= set(ids)
    for found, _ in page.all("a"):
        assert found["href"].startswith("#") or (written[0].out / found["href"]).exists(), found


def test_a_second_run_writes_equal_files(filled, written, tmp_path):
    command.aggregate(filled[0], tmp_path, Console(quiet=True))
    assert tree(tmp_path) == tree(written[0].out)
    for file in tree(tmp_path):
        assert (tmp_path / file).read_bytes() == (written[0].out / file).read_bytes(), file


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
        "results/last_sweep: not there, so no sweep ran here; name a grid, e.g. grids/demo.yaml"
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
