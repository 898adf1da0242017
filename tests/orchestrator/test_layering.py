"""The directions of imports are a table. An arrow that is not in it, or that is no longer used, fails."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECIPES = ("pretext", "fr_iqa", "super_resolution", "restoration", "judging", "iqa_transfer", "benchmark")

# module of orchestrator/ -> modules of orchestrator/ and packages of other folders that it may import
ORCHESTRATOR = {
    "spec": "",
    "identity": "spec",
    "yaml_lines": "",
    "sections": "spec",
    "grid_errors": "sections yaml_lines",
    "grid": "grid_errors matrix sections spec yaml_lines",
    "builder": "sections spec",
    "matrix": "builder sections spec",
    "plan": "identity matrix spec",
    "naming": "identity matrix spec",
    "ready": "plan",
    "store": "identity spec",
    "cost": "spec store",
    "checks": "",
    "show": "checks plan ready spec store",
    "reaper": "",
    "runner": "spec store workers",
    "schedule": "plan ready reaper runner sections store",
    "tracking": "identity plan spec store",
    "sweep": "aggregate checks cost grid identity matrix naming plan ready schedule sections show spec store tracking",
    "__main__": "grid plan show sweep",
}
AGGREGATE = {"grid", "identity", "matrix", "spec", "store"}
HEAVY = {"ray": {"orchestrator.schedule"}, "mlflow": {"orchestrator.tracking"}, "torch": set(), "torchvision": set()}


def modules(package: str) -> dict[str, ast.Module]:
    files = sorted((ROOT / package).rglob("*.py"))
    return {name(file): ast.parse(file.read_text(), str(file)) for file in files}


def name(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


TREES = {package: modules(package) for package in ("orchestrator", "workers")}


def imports(tree: ast.AST) -> set[str]:
    """Full names of everything imported anywhere in `tree`: in functions and under TYPE_CHECKING too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"line {node.lineno}: a relative import hides its direction"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def inside(found: set[str], package: str) -> set[str]:
    """Second parts of the names of `package` in `found`: orchestrator.spec.Trial -> spec."""
    return {full.split(".")[1] for full in found if full.startswith(f"{package}.")}


@pytest.mark.parametrize("module", TREES["orchestrator"])
def test_orchestrator_imports_only_along_its_arrows(module: str) -> None:
    found = imports(TREES["orchestrator"][module])
    ours = inside(found, "orchestrator") | ({"workers"} & {full.split(".")[0] for full in found})
    part = module.partition(".")[2]
    if part.startswith("spec"):
        assert ours <= {"spec"}, f"{module}: the leaf imports nothing else of the orchestrator"
    elif part.startswith("aggregate"):
        allowed = AGGREGATE | {"aggregate"}
        assert ours <= allowed, f"{module} imports {sorted(ours - allowed)}; allowed: {sorted(allowed)}"
    else:
        assert part in ORCHESTRATOR or not part, f"{module} is new: add what it may import to the table in this file"
        assert ours == set(ORCHESTRATOR.get(part, "").split()), f"{module}: the table in this file says otherwise"


def test_the_table_of_arrows_has_no_cycle_and_no_stranger() -> None:
    assert set(ORCHESTRATOR) <= {path.stem for path in (ROOT / "orchestrator").iterdir()}
    left = {module: set(arrows.split()) - {"workers", "aggregate"} for module, arrows in ORCHESTRATOR.items()}
    while leaves := {module for module, arrows in left.items() if not arrows}:
        left = {module: arrows - leaves for module, arrows in left.items() if module not in leaves}
    assert not left, f"these import each other in a circle: {left}"


@pytest.mark.parametrize("package", HEAVY)
def test_heavy_packages_have_one_door(package: str) -> None:
    trees = TREES["orchestrator"] | (TREES["workers"] if package in ("ray", "mlflow") else {})
    users = {module for module, tree in trees.items() if any(full.split(".")[0] == package for full in imports(tree))}
    assert users == HEAVY[package]


def test_the_driver_imports_workers_only_inside_functions() -> None:
    tree = TREES["orchestrator"]["orchestrator.runner"]
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    within = {full for function in functions for full in imports(function) if full.startswith("workers")}
    statements = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    in_functions = {id(node) for function in functions for node in ast.walk(function)}
    outside = set().union(*(imports(node) for node in statements if id(node) not in in_functions))
    assert within
    assert not {full for full in outside if full.startswith("workers")}


@pytest.mark.parametrize("module", TREES["workers"])
def test_workers_know_of_the_orchestrator_only_the_specs(module: str) -> None:
    found = imports(TREES["workers"][module])
    assert inside(found, "orchestrator") <= {"spec"}
    assert not {full.split(".")[0] for full in found} & {"ray", "mlflow", "pydantic"}
    recipe = module.partition(".")[2]
    if recipe in RECIPES:
        assert not inside(found, "workers") & set(RECIPES), f"{module}: recipes never import recipes; share by a module"


def test_planning_loads_nothing_heavy() -> None:
    program = """
import json, sys
import orchestrator.__main__, orchestrator.sweep
sys.argv = ["orchestrator", "plan", "grids/demo.yaml"]
try:
    orchestrator.__main__.main()
except SystemExit as end:
    assert not end.code, end.code
heavy = {"torch", "ray", "mlflow", "pandas", "numpy", "scipy", "pyiqa", "timm"}
print(json.dumps(sorted(heavy & set(sys.modules))), file=sys.stderr)
"""
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(ended.stderr) == []
    assert ended.stdout.startswith("demo: ")
