"""The directions of imports are a table. An arrow that is not in it, or that is no longer used, fails."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECIPES = ("pretext", "fr_iqa", "super_resolution", "restoration", "judging", "iqa_transfer", "benchmark")

# packages of orchestrator/ -> modules of orchestrator/ that any module of theirs may import, besides each other
PACKAGES = {
    "spec": "",
    "sections": "spec",
    "aggregate": "circularity grid identity last_resort manifests matrix naming remote sections spec store",
}
# module of orchestrator/ -> modules of orchestrator/ and packages of other folders that it imports
ORCHESTRATOR = {
    "identity": "spec",
    "lease": "reaper",
    "disk": "",
    "history": "disk",
    "fence": "disk history",
    "store": "disk fence history identity lease spec",
    "objects": "disk",
    "remote_lease": "lease objects",
    "transfer": "fence identity objects store",
    "remote": "disk fence history identity lease objects remote_lease spec store transfer",
    "stalls": "lease plan store",
    "yaml_lines": "",
    "known": "",
    "grid_errors": "sections yaml_lines",
    "grid_data_checks": "grid_errors sections spec yaml_lines",
    "grid_claim_checks": "grid_errors matrix sections spec yaml_lines",
    "grid_checks": "grid_claim_checks grid_data_checks grid_errors known matrix sections spec yaml_lines",
    "composing": "yaml_lines",
    "schema": "sections",
    "completion": "grid spec",
    "grid": "composing grid_checks grid_claim_checks grid_errors sections yaml_lines",
    "manifests": "disk sections spec store",
    "builder": "known manifests sections spec",
    "matrix": "builder known manifests sections spec",
    "plan": "identity matrix spec",
    "naming": "identity matrix spec",
    "ready": "plan",
    "work": "spec",
    "cost": "spec work",
    "makespan": "",
    "forecast": "cost makespan plan sections spec",
    "cost_table": "cost plan",
    "circularity": "spec",
    "checks": "",
    "show": "checks circularity cost forecast manifests plan ready sections spec",
    "progress": "makespan plan ready show store",
    "reaper": "",
    "runner": "disk history integrity lease manifests remote spec store workers",
    "meters": "ready store",
    "driving": "plan ready store",
    "cluster": "lease remote sections spec store",
    "actor": "cluster meters remote runner store",
    "searcher": "actor cluster driving plan ready runner sections store",
    "schedule": "actor cluster driving interrupts meters plan ready reaper searcher sections stalls store",
    "mirrored": "disk identity spec",
    "mirror": "mirrored store sweep",
    "tracking": "disk identity lease manifests mirrored plan spec store",
    "mirror_reader": "mirrored tracking",
    "restore": "disk fence grid identity manifests matrix mirror_reader mirrored plan sections store transfer",
    "integrity": "disk identity store",
    "fsck": "grid identity integrity remote store",
    "fetching": "manifests",
    "scanning": "fetching manifests workers",
    "preflight": "fetching manifests scanning sections spec store",
    "interrupts": "",
    "last_resort": "grid interrupts",
    "sweep": "aggregate checks composing cost disk driving forecast grid identity integrity interrupts manifests "
    "matrix mirrored naming plan preflight progress ready remote schedule sections show spec store tracking work",
    "status": "lease plan progress show spec store sweep",
    "trials": "grid history identity integrity lease plan progress show spec status store sweep",
    "gc": "composing grid identity spec store sweep",
    "plan_diff": "identity plan spec sweep",
    "prefetch": "fetching grid manifests remote sweep",
    "shrink": "sections spec",
    "rehearse": "aggregate cost cost_table disk driving fetching grid identity interrupts manifests matrix naming plan "
    "preflight progress ready schedule sections show shrink spec store sweep work",
    "__main__": "completion fsck gc grid interrupts last_resort mirror plan plan_diff prefetch rehearse restore schema "
    "show status sweep trials",
}
# module -> what it imports inside functions alone: planning must not load it
LAZY = {
    "runner": "workers.context workers.sources workers.trial",
    "sweep": "orchestrator.aggregate orchestrator.schedule orchestrator.tracking",
    "rehearse": "orchestrator.aggregate",
    "completion": "orchestrator.grid orchestrator.spec",
    "last_resort": "orchestrator.grid",
    "__main__": "orchestrator.fsck orchestrator.gc orchestrator.grid orchestrator.interrupts orchestrator.mirror "
    "orchestrator.plan orchestrator.plan_diff orchestrator.prefetch orchestrator.rehearse orchestrator.restore "
    "orchestrator.schema orchestrator.show orchestrator.status orchestrator.sweep orchestrator.trials",
}
HEAVY = {
    "ray": {f"orchestrator.{name}" for name in ("cluster", "actor", "searcher", "schedule", "meters")},
    "mlflow": {"orchestrator.tracking"},
    "torch": set(),
    "torchvision": set(),
}


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
    package = part.partition(".")[0]
    if package in PACKAGES:
        allowed = {package, *PACKAGES[package].split()}
        assert ours <= allowed, f"{module} imports {sorted(ours - allowed)}; allowed: {sorted(allowed)}"
    else:
        assert part in ORCHESTRATOR or not part, f"{module} is new: add what it may import to the table in this file"
        assert ours == set(ORCHESTRATOR.get(part, "").split()), f"{module}: the table in this file says otherwise"


def test_the_table_of_arrows_has_no_cycle_and_no_stranger() -> None:
    assert set(PACKAGES | ORCHESTRATOR) <= {path.stem for path in (ROOT / "orchestrator").iterdir()}
    left = {part: set(arrows.split()) - {"workers"} for part, arrows in (PACKAGES | ORCHESTRATOR).items()}
    while leaves := {part for part, arrows in left.items() if not arrows}:
        left = {part: arrows - leaves for part, arrows in left.items() if part not in leaves}
    assert not left, f"these import each other in a circle: {left}"


@pytest.mark.parametrize("package", HEAVY)
def test_heavy_packages_have_one_door(package: str) -> None:
    trees = TREES["orchestrator"] | (TREES["workers"] if package in ("ray", "mlflow") else {})
    users = {module for module, tree in trees.items() if any(full.split(".")[0] == package for full in imports(tree))}
    assert users == HEAVY[package]


@pytest.mark.parametrize("part", LAZY)
def test_what_planning_must_not_load_is_imported_inside_functions(part: str) -> None:
    tree = TREES["orchestrator"][f"orchestrator.{part}"]
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    in_functions = {id(node) for function in functions for node in ast.walk(function)}
    statements = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    outside = set().union(*(imports(node) for node in statements if id(node) not in in_functions))
    within = set().union(*(imports(function) for function in functions))
    for lazy in LAZY[part].split():
        assert any(under(full, lazy) for full in within), f"{part} does not import {lazy}: the table says so"
        assert not any(under(full, lazy) for full in outside), f"{part} imports {lazy} for everybody who imports it"
    assert {full for full in within | outside if under(full, "workers")} <= {
        full for full in within if any(under(full, lazy) for lazy in LAZY[part].split())
    }, f"{part} imports more of workers than the table says"


def under(full: str, name: str) -> bool:
    """Whether `full` is `name` or lies below it."""
    return f"{full}.".startswith(f"{name}.")


@pytest.mark.parametrize("module", TREES["workers"])
def test_workers_know_of_the_orchestrator_only_the_specs(module: str) -> None:
    found = imports(TREES["workers"][module])
    assert inside(found, "orchestrator") <= {"spec"}
    assert not {full.split(".")[0] for full in found} & {"ray", "mlflow", "pydantic"}
    recipe = module.partition(".")[2]
    if recipe in RECIPES:
        assert not inside(found, "workers") & set(RECIPES), f"{module}: recipes never import recipes; share by a module"


@pytest.mark.parametrize("name", ["demo", "full"])
def test_planning_loads_nothing_heavy(name: str) -> None:
    program = f"""
import json, sys
import orchestrator.__main__, orchestrator.sweep
sys.argv = ["orchestrator", "plan", "grids/{name}.yaml"]
try:
    orchestrator.__main__.main()
except SystemExit as end:
    assert not end.code, end.code
heavy = {sorted({*HEAVY, "pandas", "numpy", "scipy", "PIL", "pyiqa", "timm", "open_clip"})}
print(json.dumps(sorted(set(heavy) & set(sys.modules))), file=sys.stderr)
"""
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(ended.stderr) == []
    assert ended.stdout.startswith(f"{name}: ")
