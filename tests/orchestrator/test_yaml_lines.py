"""YAML with the line of each value."""

from pathlib import Path

import pytest
import yaml

from orchestrator import yaml_lines

TEXT = """# a comment
name: x

list:
  - 1
  - {a: 2,
     b: [3, 4.5]}
text: "no: 1"
empty:
alias: &it {deep: true}
again: *it
"""


@pytest.fixture
def document(tmp_path: Path) -> yaml_lines.Document:
    (tmp_path / "x.yaml").write_text(TEXT)
    return yaml_lines.read(tmp_path / "x.yaml")


def test_values_are_those_of_pyyaml(document: yaml_lines.Document) -> None:
    assert document.value == yaml.safe_load(TEXT)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 2),
        (("name",), 2),
        (("list",), 4),
        (("list", 0), 5),
        (("list", 1), 6),
        (("list", 1, "a"), 6),
        (("list", 1, "b"), 7),
        (("list", 1, "b", 1), 7),
        (("text",), 8),
        (("empty",), 9),
        (("again",), 11),
        (("list", 1, "missing"), 6),
        (("nowhere", "at", "all"), 2),
    ],
)
def test_line_of_a_value_or_of_its_nearest_ancestor(
    path: yaml_lines.Path, line: int, document: yaml_lines.Document
) -> None:
    assert document.line(path) == line


@pytest.mark.parametrize("file", ["grids/demo.yaml", "tests/micro.yaml"])
def test_committed_grids_read_as_pyyaml_reads_them(file: str) -> None:
    path = Path(__file__).parents[2] / file
    assert yaml_lines.read(path).value == yaml.safe_load(path.read_text())


def test_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        yaml_lines.read(tmp_path / "x.yaml")


def test_endless_file_is_not_read_to_its_end() -> None:
    with pytest.raises(yaml_lines.YamlProblem, match="more than 200,000 bytes"):
        yaml_lines.read(Path("/dev/zero"))
