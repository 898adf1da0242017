"""The grid of the planning benchmark is a real one, as large as it says; tests/bench/start_up.py times its plan."""

import importlib.util
from pathlib import Path

from orchestrator import cost, grid, matrix, naming, plan
from orchestrator.manifests import Manifests
from orchestrator.work import Work

BENCH = Path(__file__).parents[1] / "bench" / "start_up.py"


def test_generated_grid_plans(tmp_path: Path) -> None:
    found = importlib.util.spec_from_file_location("start_up", BENCH)
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
    assert all(sizes[1] + (seeds - 1) * by_seed >= trials for trials, seeds in bench.SEEDS.items())
