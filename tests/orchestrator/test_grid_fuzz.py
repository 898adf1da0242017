"""Whatever a grid file, one that it includes or a setting of the command line holds, there is a plan or an error in
lines that name it: never a traceback or a hang."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator import grid as grids
from orchestrator import matrix, naming, plan
from orchestrator.grid import GridError, load
from orchestrator.manifests import Manifests

GRIDS = sorted((Path(__file__).parents[2] / "grids").glob("*.yaml"))
TREES = [yaml.safe_load(file.read_text()) for file in (*GRIDS, Path(__file__).parents[1] / "micro.yaml")]
WORDS = ("random", "released", "pretext", "gan", "none", "vgg16", "../../etc", "$HOME", "calibrated", "fr", "nr", "<b>")
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-3, 3)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(WORDS)
    | st.just("x" * 300)
    | st.just(10**400)
    | st.dates()
)
TEXTS = ("2020-99-99", "!!int abc", "!!float ''", "!!timestamp x", "!!set x", "[" * 2000, "&a [*a]", "0x" + "f" * 5000)
"""YAML of values that PyYAML stumbles over, each in its way."""
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=3), max_leaves=6
)


def paths(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Of every value in a tree."""
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(found for name, child in children for found in paths(child, (*path, name)))]


def put(tree: Any, path: tuple[Any, ...], change: Any) -> Any:
    """The tree with another value at `path`; `change` takes the old one."""
    if not path:
        return change(tree)
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[path[0]] = put(copy[path[0]], path[1:], change)
    return copy


@st.composite
def changed(draw: st.DrawFn) -> Any:
    """One of the repository's grids with one to three values replaced, removed, doubled or added."""
    tree = draw(st.sampled_from(TREES))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(paths(tree)))
        match draw(st.sampled_from(["replace", "remove", "twice", "add"])):
            case "remove" if path:
                tree = put(tree, path[:-1], lambda parent, name=path[-1]: _without(parent, name))
            case "twice":
                tree = put(tree, path, lambda value: [value, value])
            case "add":
                key, value = draw(SCALARS), draw(VALUES)
                tree = put(tree, path, lambda old, key=key, value=value: _with(old, key, value))
            case _:
                new = draw(VALUES)
                tree = put(tree, path, lambda _, new=new: new)
    return tree


def _without(parent: Any, name: Any) -> Any:
    return (
        {k: v for k, v in parent.items() if k != name}
        if isinstance(parent, dict)
        else [x for i, x in enumerate(parent) if i != name]
    )


def _with(old: Any, key: Any, value: Any) -> Any:
    return {**old, key: value} if isinstance(old, dict) else [*old, value] if isinstance(old, list) else value


def dumped(tree: Any) -> str:
    """As YAML."""
    return str(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True))


def planned(file: Path, settings: tuple[str, ...] = (), places: tuple[str, ...] = ()) -> None:
    """What `plan` does, or an error for a person, each line of which begins with the file or one of the `places`."""
    told = ""
    try:
        study = matrix.expand(load(grids.override(file, settings)), Manifests())
    except GridError as error:
        told = str(error) or "nothing"
    if told:
        assert all(line.startswith((str(file), *places)) for line in told.splitlines())
        return
    nodes = plan.build((label.spec for label in study.labels), {}, lambda spec: 1.0).nodes
    naming.names(study.labels, (node.spec for node in nodes.values()))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "grid.yaml"


@given(tree=changed())
@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_a_changed_grid_gives_a_plan_or_an_error(tree: Any, file: Path) -> None:
    file.write_text(dumped(tree), encoding="utf-8")
    planned(file)


@st.composite
def settings_given(draw: st.DrawFn) -> str:
    """`section.key=VALUE`, as a rule of a section that there is."""
    names = [path for tree in TREES for path in paths(tree) if path and all(isinstance(name, str) for name in path)]
    path = draw(st.sampled_from(names).map(".".join) | st.text(max_size=8))
    return f"{path}={draw(VALUES.map(dumped).map(str.strip) | st.text(max_size=20) | st.sampled_from(TEXTS))}"


@given(given=st.lists(settings_given(), min_size=1, max_size=3), base=st.sampled_from(TREES) | VALUES)
@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_any_setting_gives_a_plan_or_an_error(
    given: list[str], base: Any, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grids, "RESULTS", file.parent / "results")
    file.write_text(dumped(base), encoding="utf-8")
    planned(file, tuple(given), ("-o", str(file.parent / "results")))


INCLUDES = st.sampled_from(["grid.yaml", "other.yaml", ["other.yaml", "other.yaml"], ["other.yaml", "grid.yaml"]])


@given(above=changed(), below=changed() | VALUES, include=INCLUDES | VALUES, again=st.none() | INCLUDES | VALUES)
@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_a_grid_that_includes_another_gives_a_plan_or_an_error(
    above: Any, below: Any, include: Any, again: Any, file: Path
) -> None:
    other = file.with_name("other.yaml")
    file.write_text(dumped(_with(above, "include", include)), encoding="utf-8")
    other.write_text(dumped(below if again is None else _with(below, "include", again)), encoding="utf-8")
    planned(file, places=(str(other),))


@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_bytes_give_an_error(content: bytes, file: Path) -> None:
    file.write_bytes(content)
    planned(file)


@given(data=st.data())
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_grid_with_other_bytes_gives_a_plan_or_an_error(data: st.DataObject, file: Path) -> None:
    content = bytearray(data.draw(st.sampled_from(GRIDS)).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    file.write_bytes(content)
    planned(file)
