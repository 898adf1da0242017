"""How long a large grid takes to plan: `python tests/bench/plan_speed.py [SEEDS]` prints seconds by stage.

The grid is the demo with every backbone under every head and start, and many seeds: 40 make over 100,000 trials.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
SEEDS = 40


def wide_grid(seeds: int) -> str:
    """YAML of the demo grid with 20 discriminators besides none, and that many seeds."""
    grid = yaml.safe_load((ROOT / "grids" / "demo.yaml").read_text())
    pretrained = [name for name, level in grid["backbones"].items() if level["weights"] == "pretext"]
    axis = {"head": ["vanilla", "patch"], "backbone": pretrained, "start": ["random", "pretext"]}
    grid["matrix"]["discriminator"] = ["none", axis]
    grid["seeds"] = list(range(seeds))
    return yaml.safe_dump(grid, sort_keys=False)


@contextmanager
def timed(stage: str) -> Iterator[None]:
    """Prints the seconds that the block takes."""
    started = time.perf_counter()
    yield
    print(f"{stage:>8} {time.perf_counter() - started:6.2f} s")


def main() -> None:
    """Plans the generated grid against an empty store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("seeds", nargs="?", type=int, default=SEEDS)
    sys.path.insert(0, str(ROOT))  # so that the file runs from anywhere
    from orchestrator import cost, grid, matrix, naming, plan
    from orchestrator.manifests import Manifests
    from orchestrator.work import Work

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "wide.yaml"
        file.write_text(wide_grid(parser.parse_args().seeds))
        with timed("total"):
            with timed("load"):
                loaded = grid.load(file)
            with timed("expand"):
                study = matrix.expand(loaded, Manifests())
            with timed("build"):
                planned = plan.build((label.spec for label in study.labels), {}, cost.Costs(Work()).seconds)
            with timed("explain"):
                plan.explain(planned, study.labels)
            with timed("names"):
                naming.names(study.labels, (node.spec for node in planned.nodes.values()))
    print(f"{len(planned.nodes):,} trials of {study.cells:,} cells")


if __name__ == "__main__":
    main()
