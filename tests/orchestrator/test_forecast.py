"""GPU-hours, makespan, disk and memory of a plan, by hand from made-up rates."""

from collections import Counter
from typing import Any

import pytest

from orchestrator import cost, cost_table, plan
from orchestrator.forecast import CLUSTERS, HEADROOM, Forecast, forecast, memory_faults, shares
from orchestrator.identity import Address
from orchestrator.matrix import Study
from orchestrator.sections import Runtime
from orchestrator.spec import KINDS
from orchestrator.work import Work

GPU_BYTES = 80 * 10**9


def rate(**changes: Any) -> cost.Rate:
    given = {"seconds": 0.0, "step": 0.0, "overhead": 36.0, "flops": 0.0, "bytes": 10.0, "peak_bytes": {"device": 1}}
    return cost.Rate(**(given | changes))


def planned(study: Study, index: dict[Address, str] | None = None) -> plan.Plan:
    return plan.build((label.spec for label in study.labels), index or {}, lambda _: 1.0)


def costs(study: Study, gpu_bytes: int = GPU_BYTES, **by_kind: cost.Rate) -> cost.Costs:
    """Every shape has the rate of its kind, 36 s a trial where none is given."""
    shapes = {cost.shape(node.spec): by_kind.get(node.kind, rate()) for node in planned(study).nodes.values()}
    return cost.Costs(Work(), cost.Rehearsed(shapes, "a device", gpu_bytes))


def told(study: Study, runtime: Runtime | None = None, **by_kind: cost.Rate) -> Forecast:
    found = forecast(planned(study), costs(study, **by_kind), runtime or Runtime(gpus=1.0))
    assert found
    return found


def test_hours_are_seconds_times_the_gpus_that_a_trial_reserves(micro: Study) -> None:
    counts = {kind: states.total() for kind, states in planned(micro).counts().items()}
    whole = told(micro)
    assert whole.gpu_hours == {kind: pytest.approx((n / 100, n / 100)) for kind, n in counts.items()}
    quarter = told(micro, Runtime(gpus={"judging": 0.25}))
    assert quarter.gpu_hours["judging"] == pytest.approx((counts["judging"] / 400,) * 2)
    assert quarter.gpu_hours["pretext"] == (0.0, 0.0)  # reserves none: it runs on a CPU beside
    assert forecast(planned(micro), costs(micro), Runtime()) is None, "no trial reserves a GPU"


def test_bounds_of_the_makespan(micro: Study) -> None:
    found, trials = told(micro), len(planned(micro).nodes)
    depth = len(planned(micro).longest_path())
    assert tuple(found.makespan) == CLUSTERS
    assert found.makespan[1] == pytest.approx((trials / 100, trials / 100))
    assert found.longest_path == found.makespan[256] == pytest.approx((depth / 100, depth / 100))
    assert found.trials == trials


def test_a_cluster_smaller_than_one_trial_is_not_told(micro: Study) -> None:
    assert tuple(told(micro, Runtime(gpus={"super_resolution": 8.0})).makespan) == (8, 64, 256)


def test_a_rehearsal_on_a_cpu_gives_ranges(micro: Study) -> None:
    slow, fast = cost.SUSTAINED_FLOPS
    flops = rate(overhead=0.0, flops=1e9)
    found = forecast(planned(micro), costs(micro, gpu_bytes=0, pretext=flops), Runtime(gpus=1.0))
    assert found
    assert not found.on_gpu
    work = 3 * 4 * 32**2  # steps x batch x crop
    assert found.gpu_hours["pretext"] == pytest.approx((1e9 * work / fast / 3600, 1e9 * work / slow / 3600))
    assert found.longest_path[0] < found.longest_path[1]


def test_images_take_room_by_the_pixel_and_other_trials_by_themselves(micro: Study) -> None:
    nodes = planned(micro).nodes.values()
    pixels = sum(Work().of(node.spec) for node in nodes if node.kind == "restoration")
    others = sum(node.kind != "restoration" for node in nodes)
    assert told(micro, restoration=rate(bytes=3.0)).disk_bytes == pytest.approx(3 * pixels + 10 * others)


def test_fractions_fit_whole_trials_into_the_memory(micro: Study) -> None:
    third = rate(peak_bytes={"device": GPU_BYTES / HEADROOM / 3.5})
    found = told(micro, judging=third, super_resolution=rate(peak_bytes={"device": 2 * GPU_BYTES}))
    assert found.fractions["judging"] == pytest.approx(1 / 3)
    assert found.fractions["super_resolution"] == float("inf")
    assert told(micro, judging=rate(peak_bytes={"host": 5})).fractions.keys() == found.fractions.keys() - {"judging"}


def test_sharing_a_gpu_more_narrowly_than_memory_allows_is_a_fault(micro: Study) -> None:
    found = told(micro, judging=rate(peak_bytes={"device": GPU_BYTES / HEADROOM / 3.5}))
    assert memory_faults(found, Runtime(gpus={"judging": 0.25})) == [
        "runtime.gpus: found 0.25 for judging, whose largest trial needs 0.33 of the GPU that it was rehearsed on; "
        "allowed: at least 0.33"
    ]
    assert memory_faults(found, Runtime(gpus={"judging": 0.5})) == []
    assert memory_faults(found, Runtime(gpus=1.0)) == []


def test_measured_shares_fit_the_largest_trial_of_each_kind(micro: Study) -> None:
    third = rate(peak_bytes={"device": GPU_BYTES / HEADROOM / 3.5})
    huge = rate(peak_bytes={"device": 2 * GPU_BYTES})
    found = shares(planned(micro), costs(micro, pretext=third, super_resolution=huge, judging=third))
    assert found["pretext"] == pytest.approx(1 / 3)
    assert found["super_resolution"] == 1.0, "a trial that does not fit reserves all: memory_faults tells"
    assert found["judging"] == 1.0, "stand-ins are smaller than the images that are judged"
    assert found.keys() == set(KINDS)
    assert shares(planned(micro), costs(micro, gpu_bytes=0, pretext=third))["pretext"] == 1.0


def test_finished_trials_say_what_a_rehearsal_cannot(micro: Study) -> None:
    known, trials = costs(micro), [node.spec for node in planned(micro).nodes.values() if node.kind == "judging"]
    first, second = sorted({cost.shape(trial) for trial in trials})
    peaks = iter([GPU_BYTES // 8, GPU_BYTES // 5, *[GPU_BYTES // 10] * len(trials)])

    def record() -> dict[str, Any]:
        return {"seconds": 1.0, "peak_bytes": {"device": next(peaks)}}

    known.learn([(trial, record) for trial in trials if cost.shape(trial) == first])
    assert known.peaks == {first: GPU_BYTES // 5}
    assert shares(planned(micro), known)["judging"] == 1.0, "of the other shape nobody knows"
    known.learn([(trial, record) for trial in trials if cost.shape(trial) == second])
    assert shares(planned(micro), known)["judging"] == pytest.approx(1 / 4)  # 80 GB / (1.25 x 16 GB)


def test_unknown_shapes_are_counted_apart(micro: Study) -> None:
    known = costs(micro)
    known.rehearsed.rates = {name: one for name, one in known.rehearsed.rates.items() if "piqe" not in name}
    found = forecast(planned(micro), known, Runtime(gpus=1.0))
    assert found
    judged = [x for x in planned(micro).nodes.values() if x.kind == "judging"]
    assert found.unknown == Counter(judging=len(judged) // 2)
    assert found.trials == len(planned(micro).nodes) - len(judged) // 2


def test_without_a_rehearsal_or_anything_to_do_there_is_no_forecast(micro: Study) -> None:
    assert forecast(planned(micro), cost.Costs(Work()), Runtime(gpus=1.0)) is None
    done = {(node.kind, name): "done" for name, node in planned(micro).nodes.items()}
    assert forecast(planned(micro, done), costs(micro), Runtime(gpus=1.0)) is None


def test_a_table_has_a_row_for_each_shape_and_names_what_was_not_rehearsed(micro: Study) -> None:
    known = costs(micro, pretext=rate(step=0.5, flops=1e6))
    del known.rehearsed.rates["judging piqe natural"]
    lines = cost_table.markdown("micro", planned(micro), known).splitlines()
    assert lines[0] == "# micro, rehearsed on a device"
    tflop = 1e6 * 3 * 4 * 32**2 / 1e12
    assert f"| pretext small/convnext | 1 | 0.50 | a step | 0.0 | {tflop:,.3g} |" in lines
    assert "| fr_iqa small/vgg from random | 1 | 36.00 | a trial | 0.0 | 0 |" in lines
    assert sum(line.startswith("| ") for line in lines) == len(known.rehearsed.rates) + 1
    assert lines[-1] == "Not rehearsed: 8 trials of 1 shapes: judging piqe natural."
