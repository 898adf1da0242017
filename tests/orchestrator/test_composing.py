"""Grids made of grids, settings of a command line, and what both are told when they are wrong."""

import sys
from pathlib import Path

import pytest

from orchestrator import composing, grid
from orchestrator.__main__ import main
from orchestrator.grid import GridError

MICRO = Path(__file__).parents[1] / "micro.yaml"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with micro.yaml in grids/."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "grids").mkdir()
    (tmp_path / "grids/micro.yaml").write_text(MICRO.read_text())
    return Path("grids")


def refused(file: Path) -> str:
    with pytest.raises(GridError) as error:
        grid.load(file)
    return str(error.value)


def test_what_includes_is_put_on_top_of_what_is_included(folder: Path) -> None:
    (folder / "own.yaml").write_text(
        "include: micro.yaml\nname: own\nseeds: [4, 5]\nbaselines: ~\nsuper_resolution: {training: {steps: 7}}\n"
    )
    own, micro = grid.load(folder / "own.yaml"), grid.load(folder / "micro.yaml")
    training = micro.super_resolution.training
    assert own == micro.model_copy(
        update={
            "name": "own",
            "seeds": (4, 5),
            "baselines": (),
            "super_resolution": micro.super_resolution.model_copy(
                update={"training": training.model_copy(update={"steps": 7})}
            ),
        }
    )
    assert micro.baselines, "or nothing was taken away"


def test_later_ones_of_a_list_are_put_on_top_of_earlier_ones_and_chains_are_followed(folder: Path) -> None:
    (folder / "parts").mkdir()
    (folder / "parts/short.yaml").write_text("super_resolution: {training: {steps: 3, batch: 2}}\n")
    (folder / "parts/many.yaml").write_text("include: short.yaml\nseeds: [7]\n")
    (folder / "own.yaml").write_text(
        "include: [micro.yaml, parts/many.yaml]\nsuper_resolution: {training: {batch: 1}}\n"
    )
    own = grid.load(folder / "own.yaml")
    assert (own.name, own.seeds) == ("micro", (7,))
    assert (own.super_resolution.training.steps, own.super_resolution.training.batch) == (3, 1)


def test_faults_are_told_where_they_stand(folder: Path) -> None:
    (folder / "part.yaml").write_text("\nsuper_resolution:\n  training: {stepz: 3}\n")
    (folder / "own.yaml").write_text("include: [micro.yaml, part.yaml]\nseeds: [x]\n")
    first, second = refused(folder / "own.yaml").splitlines()
    assert first.startswith("grids/own.yaml:2: seeds[0]: found 'x'")
    assert second.startswith("grids/part.yaml:3: super_resolution.training.stepz: found an unknown field")
    line = next(n for n, text in enumerate(MICRO.read_text().splitlines(), 1) if text.startswith("numerics:"))
    (folder / "own.yaml").write_text("include: micro.yaml\n")
    (folder / "micro.yaml").write_text(MICRO.read_text().replace("numerics: reference", "numerics: exact"))
    assert refused(folder / "own.yaml").startswith(f"grids/micro.yaml:{line}: numerics: found 'exact'")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("include: 3", "grids/own.yaml:1: include: found 3; allowed: a grid file, or a list of them"),
        ("include: []", "grids/own.yaml:1: include: found no file; allowed: at least one"),
        (
            "name: x\ninclude: [micro.yaml, '']",
            "grids/own.yaml:2: include: found ''; allowed: a grid file, or a list of them",
        ),
        (
            "include: micra.yaml",
            "grids/own.yaml:1: include: micra.yaml: No such file or directory; grids there: bad.yaml, list.yaml, "
            "micro.yaml",
        ),
        ("include: own.yaml", "grids/own.yaml:1: include: own.yaml includes itself: grids/own.yaml"),
        (
            "include: bad.yaml",
            "grids/bad.yaml:2: not readable as YAML: expected the node content, but found '<stream end>'",
        ),
        (
            "include: list.yaml",
            "grids/list.yaml:1: found no mapping of names to values; allowed: a grid, or parts of one",
        ),
    ],
)
def test_wrong_includes(content: str, message: str, folder: Path) -> None:
    (folder / "bad.yaml").write_text("name: [\n")
    (folder / "list.yaml").write_text("- 1\n")
    (folder / "own.yaml").write_text(content)
    assert refused(folder / "own.yaml") == message


def test_circles_of_includes_are_told(folder: Path) -> None:
    (folder / "a.yaml").write_text("include: b.yaml")
    (folder / "b.yaml").write_text("include: ../grids/a.yaml")
    message = "grids/b.yaml:1: include: ../grids/a.yaml includes itself: grids/a.yaml > grids/b.yaml"
    assert refused(folder / "a.yaml") == message


def test_claims_on_other_grids_are_found_beside_the_file_that_is_included(folder: Path) -> None:
    shown = "F1: {says: x, contrast: agreement, matters: 0.2, grid: other.yaml}"
    (folder / "micro.yaml").write_text(MICRO.read_text().partition("claims:")[0] + f"claims:\n  {shown}\n")
    (folder / "other.yaml").write_text(MICRO.read_text())
    Path("own.yaml").write_text("include: grids/micro.yaml\n")
    assert grid.load("own.yaml").claims["F1"].grid == "other.yaml"
    assert grid.beside(Path("own.yaml"), "other.yaml").name == "micro"


def test_settings_of_a_command_line_become_a_file_that_every_verb_takes(folder: Path) -> None:
    file = folder / "micro.yaml"
    assert grid.override(file, []) == file
    made = grid.override(
        file, ["super_resolution.training.steps=7", "seeds=[3, 4]", "super_resolution.training.batch=1"]
    )
    assert made == Path("results/micro/grid.yaml")
    assert (
        made.read_text().splitlines()[0].startswith("# grids/micro.yaml -o super_resolution.training.steps=7 -o seeds")
    )
    training = grid.load(made).super_resolution.training
    assert (training.steps, training.batch, grid.load(made).seeds) == (7, 1, (3, 4))
    assert grid.override(file, ["name=other"]) == Path("results/other/grid.yaml")


def test_settings_that_give_no_grid_and_those_of_a_look_leave_what_ran_as_it_is(folder: Path) -> None:
    file = folder / "micro.yaml"
    ran = grid.override(file, ["seeds=[3]"])
    before = ran.read_text()
    for setting, message in (
        ("seed=[0]", "-o: seed: found an unknown field; allowed: .*; did you mean 'seeds'?"),
        ("name=../x", r"-o: name: found '\.\./x'"),
    ):
        with pytest.raises(GridError, match=message):
            grid.override(file, [setting])
    looked_at = grid.override(file, ["seeds=[4]"], runs=False)
    assert (looked_at, grid.load(looked_at).seeds) == (Path("results/micro/asked.yaml"), (4,))
    assert ran.read_text() == before
    assert not list(Path("results").rglob("overridden/*"))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "seeds",
            "-o: found 'seeds'; allowed: SECTION.KEY=VALUE with a value in YAML, e.g. "
            "super_resolution.training.steps=2000",
        ),
        ("a..b=1", "-o: found 'a..b=1'; allowed: SECTION.KEY=VALUE"),
        ("seeds=[1", "-o seeds=[1: not readable as YAML: "),
        ("seeds=2020-99-99", "-o seeds=2020-99-99: found '2020-99-99', which is no timestamp; put text in quotes"),
        ("seeds=!!int abc", "-o seeds=!!int abc: found 'abc', which is no int; "),
        ("seeds=!!int ''", "-o seeds=!!int '': found '', which is no int; "),
        ("seeds=!!timestamp x", "-o seeds=!!timestamp x: found 'x', which is no timestamp; "),
        ('seeds="\\UFFFFFFFF"', '-o seeds="\\UFFFFFFFF": not readable as YAML: a number or a character that is none'),
        (f"seeds=0x{'f' * 5000}", "-o seeds=0xfff"),
        (f"seeds={'[' * 2000}", "-o seeds=[[["),
        (f"{'a.' * 2000}a=1", "-o: found 'a.a."),
        ("seeds=\n1", "-o: found 'seeds=\\n1'; allowed: "),
        (
            "super_resolution.training.stepz=1",
            "-o: super_resolution.training.stepz: found an unknown",
        ),
    ],
)
def test_wrong_settings(
    setting: str, message: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["orchestrator", "plan", str(folder / "micro.yaml"), "-o", setting])
    with pytest.raises(SystemExit) as end:
        main()
    out, told = capsys.readouterr()
    assert (end.value.code, out) == (2, "")
    assert told.startswith(message)
    assert told.count("\n") == 1


@pytest.mark.parametrize("content", ["- 1", "3", ""])
def test_settings_of_what_is_no_grid_are_refused(content: str, folder: Path) -> None:
    (folder / "list.yaml").write_text(content)
    with pytest.raises(GridError, match=r"^grids/list\.yaml:1: found no mapping of names to values; allowed: a grid"):
        grid.override(folder / "list.yaml", ["seeds=[3]"])


def test_links_in_a_circle_are_told(folder: Path) -> None:
    (folder / "loop.yaml").symlink_to("loop.yaml")
    (folder / "own.yaml").write_text("include: [micro.yaml, loop.yaml]")
    assert refused(folder / "own.yaml").startswith("grids/own.yaml:1: include: loop.yaml: Too many levels of symbolic")
    with pytest.raises(GridError, match=r"^grids/loop\.yaml: Too many levels of symbolic links; grids in that folder"):
        grid.override(folder / "loop.yaml", ["seeds=[3]"])


def test_few_files_that_include_each_other_twice_are_not_read_for_ever(folder: Path) -> None:
    for number in range(19):
        (folder / f"{number}.yaml").write_text(f"include: [{number + 1}.yaml, {number + 1}.yaml]")
    (folder / "19.yaml").write_text("seeds: [1]")
    assert "is one too many; allowed: 50 in all, each as often as it is read" in refused(folder / "0.yaml")


def test_settings_on_top_of_settings_are_refused(folder: Path) -> None:
    made = grid.override(folder / "micro.yaml", ["seeds=[3]"])
    with pytest.raises(GridError, match=r"-o: results/micro/grid.yaml was made by -o itself"):
        grid.override(made, ["seeds=[4]"])


def test_a_missing_grid_is_told_with_those_that_are_there(folder: Path) -> None:
    with pytest.raises(
        GridError, match=r"grids/micra.yaml: No such file or directory; grids in that folder: grids/micro"
    ):
        grid.override(folder / "micra.yaml", ["seeds=[3]"])


def test_a_document_without_includes_is_as_it_was_read(folder: Path) -> None:
    assert composing.read(folder / "micro.yaml").places == {}
