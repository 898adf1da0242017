"""The grid of the planning benchmark is a real one; tests/bench/plan_speed.py prints its seconds at full size."""

import importlib.util
from pathlib import Path

from orchestrator import cost, grid, matrix, naming, plan
from orchestrator.manifests import Manifests
from orchestrator.work import Work

BENCH = Path(__file__).parents[1] / "bench" / "plan_speed.py"


def test_generated_grid_plans(tmp_path: Path) -> None:
    found = importlib.util.spec_from_file_location("plan_speed", BENCH)
    assert found
    assert found.loader
    bench = importlib.util.module_from_spec(found)
    found.loader.exec_module(bench)
    sizes = {}
    for seeds in (1, 2):
        (tmp_path / "wide.yaml").write_text(bench.wide_grid(seeds))
        study = matrix.expand(grid.load(tmp_path / "wide.yaml"), Manifests())
        planned = plan.build((label.spec for label in study.labels), {}, cost.Costs(Work()).seconds)
        plan.explain(planned, study.labels)
        names = naming.names(study.labels, (node.spec for node in planned.nodes.values()))
        assert names.keys() == planned.nodes.keys()
        sizes[seeds] = len(planned.nodes)
    by_seed = sizes[2] - sizes[1]
    assert sizes[1] + (bench.SEEDS - 1) * by_seed >= 100_000
