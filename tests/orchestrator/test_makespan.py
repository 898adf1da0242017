"""The simulated makespan against hand-made graphs, and between its bounds on random ones."""

import random
from collections.abc import Callable

import pytest

from orchestrator import plan, spec
from orchestrator.makespan import Job, makespan


def graph(**jobs: tuple[float, float, str]) -> dict[str, Job]:
    """name = (seconds, gpus, "parents"), children after their parents."""
    found: dict[str, Job] = {}
    for name, (seconds, gpus, parents) in reversed(jobs.items()):
        below = max((job.remaining for job in found.values() if name in job.parents), default=0.0)
        found[name] = Job(seconds, gpus, tuple(parents.split()), seconds + below)
    return found


def test_nothing_takes_no_time() -> None:
    assert makespan({}, 1) == 0.0


def test_a_chain_takes_its_length_on_any_number_of_gpus() -> None:
    chain = graph(a=(1, 1, ""), b=(2, 1, "a"), c=(4, 1, "b"))
    assert [makespan(chain, gpus) for gpus in (1, 2, 100)] == [7, 7, 7]


def test_independent_jobs_share_the_gpus() -> None:
    jobs = graph(**{f"job{i}": (3, 1, "") for i in range(8)})
    assert [makespan(jobs, gpus) for gpus in (1, 2, 3, 8, 9)] == [24, 12, 9, 3, 3]


def test_the_longest_remaining_path_goes_first() -> None:
    """Were the short jobs first, as their names are, the chain of 6 s would begin after 3 s."""
    jobs = graph(a=(3, 1, ""), b=(3, 1, ""), y=(3, 1, ""), z=(3, 1, "y"))
    assert makespan(jobs, 2) == 6


def test_fractions_share_one_gpu() -> None:
    jobs = graph(**{f"job{i}": (1, 0.25, "") for i in range(9)})
    assert [makespan(jobs, gpus) for gpus in (1, 2, 3)] == [3, 2, 1]
    assert makespan(graph(**{f"job{i}": (1, 0.1, "") for i in range(10)}), 1) == 1  # ten tenths are one


def test_a_small_job_passes_a_large_one_that_does_not_fit_yet() -> None:
    jobs = graph(a=(4, 0.5, ""), whole=(9, 1, ""), b=(4, 0.5, ""))
    assert makespan(jobs, 1) == 9 + 4
    first = graph(a=(4, 0.5, ""), b=(3, 0.5, "a"), small=(1, 0.5, ""), whole=(2, 1, ""))
    assert makespan(first, 1) == 4 + 3 + 2  # small runs beside a, not after whole


def test_jobs_without_a_gpu_do_not_wait() -> None:
    jobs = graph(a=(5, 1, ""), b=(5, 1, ""), **{f"cpu{i}": (4, 0, "") for i in range(20)})
    assert makespan(jobs, 1) == 10
    assert makespan(graph(a=(5, 1, ""), cpu=(4, 0, "")), 1) == 5


def test_parents_that_are_not_to_do_hold_nothing_back() -> None:
    assert makespan({"b": Job(2.0, 1.0, ("done-before",), 2.0)}, 1) == 2


def test_a_trial_larger_than_the_cluster_is_refused() -> None:
    with pytest.raises(ValueError, match="gpus: found 1; allowed: at least 2, which one trial reserves"):
        makespan(graph(a=(1, 2, ""), b=(1, 0.5, "")), 1)


@pytest.mark.parametrize("draw", range(20))
def test_bounds_on_random_graphs(draw: int, random_graph: Callable[..., list[spec.Trial]]) -> None:
    """No shorter than the longest path and the work shared by all; no longer than what Graham proved (1969)."""
    generator = random.Random(draw)
    steps = random_graph(generator, 40)
    seconds = {step: generator.choice([0.0, 1.0, 2.5, 7.0]) for step in steps}
    nodes = plan.build(steps, {}, lambda step: seconds[step]).nodes
    jobs = {name: Job(seconds[node.spec], 1.0, node.parents, node.remaining) for name, node in nodes.items()}
    work, path = sum(seconds.values()), max(job.remaining for job in jobs.values())
    for gpus in (1, 2, 5, 40):
        found = makespan(jobs, gpus)
        assert max(path, work / gpus) <= found <= work / gpus + (1 - 1 / gpus) * path + 1e-9
    assert makespan(jobs, 1) == pytest.approx(work)
    assert makespan(jobs, 40) == pytest.approx(path)
    halves = {name: Job(job.seconds, 0.5, job.parents, job.remaining) for name, job in jobs.items()}
    assert makespan(halves, 2) == makespan(jobs, 4)
