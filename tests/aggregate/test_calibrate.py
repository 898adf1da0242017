import math

import numpy as np
import pandas as pd
import pytest
import typer

from orchestrator.aggregate import calibrate
from orchestrator.aggregate.agreement import spearman
from orchestrator.aggregate.calibrate import CONTRASTS, WORLDS, contrast_study, document, measured, rankings, study
from orchestrator.aggregate.noise import population_rho

VERDICTS = ("supported", "contradicted")


def cells_of(line):
    return [one.strip() for one in line.strip("|").split("|")]


def in_tables(text):
    """Rows of each Markdown table of a text, split into cells."""
    blocks = "\n".join(line if line.startswith("|") else "" for line in text.splitlines()).split("\n\n")
    return [[cells_of(line) for line in block.strip().splitlines()] for block in blocks if block.strip()]


@pytest.fixture(scope="module")
def found():
    """Two studies of one world and of one contrast, by the code that counts them."""
    world = [rankings(WORLDS[0], 6, number) for number in range(2)]
    contrast = [contrast_study("F7", 2.0, 6, number) for number in range(2)]
    f3 = [calibrate.upset_study("F3", 3.0, True, 6, number) for number in range(2)]
    parts = {
        "rankings": [{"truth": WORLDS[0].name, "losses": 6, **pd.DataFrame(world).mean()}],
        "contrasts": [
            {"truth": "F7|2", "losses": 6, **pd.DataFrame(contrast).mean()},
            {"truth": "F3|3", "losses": 6, **pd.DataFrame(f3).mean()},
        ],
    }
    return {name: pd.DataFrame(rows) for name, rows in parts.items()}


def test_a_study_says_what_it_found(found):
    world = found["rankings"].iloc[0]
    shares = [f"{name} {verdict}" for name in ("F1", "F2") for verdict in (*VERDICTS, "wrong")]
    shares += ["F2 covers", "these", "like", "BCa", "Bonett-Wright", "significant"]
    assert set(world[shares]) <= {0.0, 0.5, 1.0}
    assert -1 <= world["rho"] < 1
    assert 0 <= world["promised"] <= 1
    assert world["F1 supported"] == 0.0  # perfect agreement seen through noise


def test_the_same_number_is_the_same_study():
    assert contrast_study("F5, unit seed", 1.0, 6, 3) == contrast_study("F5, unit seed", 1.0, 6, 3)
    one, other = (study(WORLDS[2], 6, np.random.default_rng([2, 6, number]))[2] for number in (0, 1))
    assert not np.allclose(one, other)


@pytest.mark.parametrize("world", WORLDS[2:], ids=lambda world: world.name)
def test_the_worlds_are_as_they_say(world):
    """Rank correlation of the true qualities, over many losses."""
    metric, *trained = study(world, 2_000, np.random.default_rng(0))[2]
    for truth, r in zip(trained, (world.rho[0], world.rho[1], world.rho[1]), strict=True):
        assert spearman(metric, truth) == pytest.approx(population_rho(r), abs=0.06)


@pytest.mark.parametrize("name", CONTRASTS)
def test_contrasts_have_the_effect_that_is_planted(name):
    """The noise averages out over studies: the mean estimate is the planted effect."""
    claim, generator = CONTRASTS[name], np.random.default_rng(0)
    effects = [
        calibrate.contrasts.contrast(claim, measured(claim, 3 * claim.matters, 6, generator)).estimate
        for _ in range(20)
    ]
    error = np.std(effects, ddof=1) / math.sqrt(len(effects))
    assert np.mean(effects) == pytest.approx(3 * claim.matters, abs=4 * error)


def test_every_task_has_its_row():
    names = [(part, truth, losses) for part, truth, losses, _ in calibrate.tasks()]
    assert len(set(names)) == len(names)
    claims = {truth.split("|")[0] for part, truth, _ in names if part == "contrasts"}
    assert claims == {*CONTRASTS, "F3", "F3, no worse metric"}
    assert {(truth, losses) for part, truth, losses in names if part == "rankings"} == {
        (world.name, losses) for world in WORLDS for losses in (6, 24)
    }


def test_rows_have_as_many_cells_as_headings(found):
    first, second = in_tables(document(found, 2))
    for rows, body in ((first, 1), (second, 2)):
        headings, rule, *rest = rows
        assert len(rest) == body
        assert {len(row) for row in (rule, *rest)} == {len(headings)}
    assert first[2][:2] == [WORLDS[0].name, "6"]
    assert second[2][:3] == ["F7", "2", "6"]
    assert second[3][-1] == ""  # an upset has no coverage


def test_the_document_states_studies_and_monte_carlo_error(found):
    text = document(found, 1_000)
    assert "1,000 studies" in text
    assert f"+- {100 * 1.96 * math.sqrt(0.05 * 0.95 / 1000):.1f}." in text


def test_a_page_without_the_marks_is_refused(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("nothing\n")
    with pytest.raises(typer.Exit) as refused:
        calibrate.main(1, 1, page)
    assert refused.value.exit_code == 2
    assert "has no lines <!-- calibration: written by make calibrate -->" in capsys.readouterr().err
    assert page.read_text() == "nothing\n"


def test_the_results_replace_what_is_between_the_marks(tmp_path, monkeypatch, found, capsys):
    page, (begin, end) = tmp_path / "page.md", calibrate.MARKS
    page.write_text(f"above\n{begin}\nold results\n{end}\nbelow\n")
    monkeypatch.setattr(calibrate, "run", lambda studies, processes: found)
    calibrate.main(2, 1, page)
    text = page.read_text()
    assert text.startswith(f"above\n{begin}\n\n`make calibrate`")
    assert text.endswith(f"{end}\nbelow\n")
    assert "old results" not in text
    assert document(found, 2) in text
    assert document(found, 2) in capsys.readouterr().out
