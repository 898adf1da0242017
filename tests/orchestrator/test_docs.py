"""The documents name what is there: links, make targets, verbs, options, modules, and grids that load."""

import re
import shutil
from pathlib import Path

import pytest
import typer
import yaml

from orchestrator import grid
from orchestrator.__main__ import app

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
IDS = [file.name for file in DOCUMENTS]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def anchors(text: str) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("file", DOCUMENTS, ids=IDS)
def test_links_lead_somewhere(file: Path) -> None:
    text = re.sub(r"```.*?```", "", file.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = file.parent / path if path else file
        assert target.exists(), f"{link}: not there"
        assert not anchor or anchor in anchors(target.read_text()), f"{link}: no such heading"


@pytest.mark.parametrize("file", DOCUMENTS, ids=IDS)
def test_commands_exist(file: Path) -> None:
    code = re.findall(r"```sh\n(.*?)```|`([^`\n]+)`", file.read_text(), flags=re.DOTALL)
    shown = "\n".join(block or inline for block, inline in code)
    for target in re.findall(r"^(?:\S+=\S+ )*make ([a-z]+)", shown, flags=re.MULTILINE):
        assert target in TARGETS, f"make {target}"
    for line in re.findall(r"python -m orchestrator ([^\n`#]+)", shown):
        verb, *rest = line.split()
        assert verb in COMMANDS, f"python -m orchestrator {verb}"
        known = {option for parameter in COMMANDS[verb].params for option in parameter.opts}
        for option in re.findall(r"(?<=\s)(--?[a-z][a-z-]*)", " " + " ".join(rest)):
            assert option in known, f"{verb} {option}; allowed: {sorted(known)}"


def test_each_verb_has_help_with_an_example() -> None:
    for name, command in COMMANDS.items():
        assert command.help, name
        assert f"python -m orchestrator {name}" in command.help, f"{name}: {command.help}"


def test_the_tree_in_the_readme_names_every_module() -> None:
    tree = (ROOT / "README.md").read_text().partition("## Tree")[2]
    parts = set(re.findall(r"[\w]+", tree))
    modules = {file.stem for folder in ("orchestrator", "workers") for file in (ROOT / folder).glob("*.py")}
    modules |= {file.stem for file in (ROOT / "orchestrator/aggregate").glob("*.py")}
    assert sorted(modules - parts - {"__init__", "__main__"}) == []


def yaml_blocks(name: str) -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / name).read_text(), flags=re.DOTALL)


def test_the_grids_in_grids_md_load(tmp_path: Path) -> None:
    shutil.copy(ROOT / "grids/demo.yaml", tmp_path)
    included, conditions = yaml_blocks("grids.md")
    (tmp_path / "long.yaml").write_text(included)
    assert grid.load(tmp_path / "long.yaml").super_resolution.training.steps == 60
    (tmp_path / "fewer.yaml").write_text(f"include: demo.yaml\nseeds: [0, 1, 2]\n{conditions}")
    fewer = grid.load(tmp_path / "fewer.yaml")
    assert (len(fewer.exclude), len(fewer.when), len(fewer.zip)) == (1, 1, 1)


def test_the_citation_is_readable() -> None:
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= found.keys()
    assert f'version = "{found["version"]}"' in (ROOT / "pyproject.toml").read_text()
