"""Seconds of a trial: measured by shape where records are, else rehearsed, else estimated."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator import cost, spec
from orchestrator.matrix import Study
from orchestrator.store import Store
from orchestrator.work import Work


def optimizations(study: Study) -> list[spec.SuperResolution]:
    trials = [label.spec for label in study.labels if label.role == "optimization"]
    return [trial for trial in trials if isinstance(trial, spec.SuperResolution)]


def finished(trials: list[Any], *seconds: float) -> list[tuple[spec.Trial, Callable[[], Mapping[str, Any]]]]:
    def record(value: float) -> Callable[[], Mapping[str, Any]]:
        return lambda: {"seconds": value}

    return [(trial, record(value)) for trial, value in zip(trials, seconds, strict=False)]


def largest_group(study: Study) -> list[spec.SuperResolution]:
    """The optimizations of the shape that most of them have."""
    groups: dict[str, list[spec.SuperResolution]] = {}
    for trial in optimizations(study):
        groups.setdefault(cost.shape(trial), []).append(trial)
    return max(groups.values(), key=len)


def rate(**changes: Any) -> cost.Rate:
    given = {"seconds": 2e-6, "step": 0.1, "overhead": 3.0, "flops": 1e6, "bytes": 10.0, "peak_bytes": {"host": 5}}
    return cost.Rate(**(given | changes))


def test_shape_leaves_out_seeds_and_keeps_what_costs(demo: Study) -> None:
    shapes = {cost.shape(trial) for trial in optimizations(demo)}
    # (pixel and 6 losses) x (none, vanilla vgg, patch vgg of either start, patch vit), and the warm-up
    assert len(shapes) == 7 * 5 + 1
    for label in demo.labels:
        assert cost.shape(label.spec).startswith(label.spec.KIND)


def test_shapes_in_words(full: Study) -> None:
    shapes = {cost.shape(label.spec) for label in full.labels}
    discriminator = "patch timm/resnet50.tv2_in1k from random (vanilla, r1 0, augment none)"
    assert shapes > {
        "fr_iqa timm/vgg16.tv_in1k from random",
        "fr_iqa open_clip/ViT-B-16-quickgelu from released",
        "super_resolution swinir 180x36 x4, warm-up under none",
        "super_resolution swinir 180x36 x4, pixel under none",
        f"super_resolution swinir 180x36 x4, timm/vgg16.tv_in1k from random under {discriminator}",
        "iqa_transfer fr timm/resnet50.tv2_in1k from gan (moments mlp mse)",
        "judging musiq set5",
        "benchmark live of fr_iqa timm/vgg16.tv_in1k",
        "benchmark spaq of iqa_transfer nr timm/resnet50.tv2_in1k",
    }
    restorations = {cost.shape(x.spec.restoration) for x in full.labels if isinstance(x.spec, spec.Judging)}  # type: ignore[arg-type]
    assert {"restoration set5 by swinir 180x36", "restoration set5 by bicubic"} < restorations


def test_an_estimate_grows_with_the_work_and_is_never_zero(demo: Study) -> None:
    costs = cost.Costs(Work())
    assert all(costs.seconds(label.spec) >= cost.SECONDS_AT_LEAST for label in demo.labels)
    seconds = {trial.training.steps: costs.seconds(trial) for trial in optimizations(demo) if not trial.discriminator}
    megapixel = cost.SECONDS_PER_MEGAPIXEL["super_resolution"]
    assert seconds == {
        30: pytest.approx(30 * 4 * 64**2 / 1e6 * megapixel),
        900: pytest.approx(900 * 8 * 64**2 / 1e6 * megapixel),
    }


def test_the_median_of_the_records_of_one_shape_stands_for_the_others(demo: Study) -> None:
    costs, trials = cost.Costs(Work()), largest_group(demo)
    costs.learn(finished(trials, 5.0, 9.0))
    assert [costs.seconds(trial) for trial in trials] == pytest.approx([7.0] * len(trials))
    other = next(trial for trial in optimizations(demo) if cost.shape(trial) != cost.shape(trials[0]))
    assert costs.seconds(other) == cost.Costs(Work()).seconds(other)


def test_a_record_is_scaled_to_another_amount_of_work(demo: Study, edited: Any, expand: Any) -> None:
    costs = cost.Costs(Work())
    costs.learn(finished(largest_group(demo), 5.0))
    longer = expand(edited("training: {steps: 30", "training: {steps: 68", base="demo"))
    (seconds,) = {costs.seconds(trial) for trial in largest_group(longer)}
    assert seconds == pytest.approx(5.0 * 68 / 30)


def test_at_most_so_many_records_are_read(demo: Study) -> None:
    read: list[int] = []

    def record() -> dict[str, float]:
        read.append(1)
        return {"seconds": 1.0}

    judgings = [(label.spec, record) for label in demo.labels if label.role == "judging"]
    cost.Costs(Work()).learn(judgings, most=3)
    assert len(read) == 3 * 2 * 6  # test sets x judges


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", '{"seconds": null}', '{"seconds": "x"}', "\xff"])
def test_a_damaged_record_costs_an_estimate_not_the_plan(text: str, demo: Study, tmp_path: Path) -> None:
    store, trial, costs = Store(tmp_path), optimizations(demo)[0], cost.Costs(Work())
    folder = store.prepare(trial)
    (folder / "record.json").write_text(text)
    costs.learn([(trial, lambda: store.record(trial.KIND, folder.name))])
    assert costs.seconds(trial) == cost.Costs(Work()).seconds(trial)


def test_a_rehearsal_on_a_gpu_gives_seconds_there(demo: Study) -> None:
    trial = largest_group(demo)[0]
    rehearsed = cost.Rehearsed({cost.shape(trial): rate()}, "a GPU", gpu_bytes=80 * 10**9)
    work = Work().of(trial)
    assert rehearsed.gpu_seconds(trial, work) == (pytest.approx(3 + 2e-6 * work),) * 2
    assert cost.Costs(Work(), rehearsed).seconds(trial) == pytest.approx(3 + 2e-6 * work)


def test_a_rehearsal_on_a_cpu_gives_a_range_from_operations(demo: Study) -> None:
    trial = largest_group(demo)[0]
    rehearsed = cost.Rehearsed({cost.shape(trial): rate()}, "a CPU")
    work, (slow, fast) = Work().of(trial), cost.SUSTAINED_FLOPS
    expected = (3 + 1e6 * work / fast, 3 + 1e6 * work / slow)
    assert rehearsed.gpu_seconds(trial, work) == pytest.approx(expected)
    assert cost.Costs(Work(), rehearsed).seconds(trial) == pytest.approx(math.sqrt(expected[0] * expected[1]))


def test_records_of_finished_trials_outweigh_a_rehearsal(demo: Study) -> None:
    trials = largest_group(demo)
    costs = cost.Costs(Work(), cost.Rehearsed({cost.shape(trials[0]): rate()}, "a GPU", gpu_bytes=1))
    costs.learn(finished(trials, 5.0))
    assert costs.seconds(trials[1]) == pytest.approx(5.0)


def test_a_rehearsal_knows_nothing_of_other_shapes(demo: Study) -> None:
    trial = largest_group(demo)[0]
    assert cost.Rehearsed().gpu_seconds(trial, 1.0) is None
    assert cost.Costs(Work(), cost.Rehearsed({"other": rate()})).seconds(trial) == cost.Costs(Work()).seconds(trial)


def test_a_rehearsal_survives_its_file() -> None:
    rehearsed = cost.Rehearsed({"a": rate(), "b": rate(peak_bytes={"host": 1, "device": 2})}, "a GPU", gpu_bytes=3)
    assert cost.Rehearsed.from_json(json.dumps(rehearsed.to_json())) == rehearsed


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"rates": 5, "device": "a GPU", "gpu_bytes": 3}',
        '{"rates": {"a": [1]}}',
        '{"rates": {"a": {"seconds": 1}}}',
        '{"rates": {}, "gpu_bytes": "much"}',
        json.dumps(cost.Rehearsed({"a": rate(seconds=-1.0)}).to_json()),
        json.dumps(cost.Rehearsed({"a": rate(flops=math.inf)}).to_json()),
        "[" * 100_000,
    ],
)
def test_a_damaged_rehearsal_is_none(content: str) -> None:
    with pytest.raises(ValueError, match="Rehearsed"):
        cost.Rehearsed.from_json(content)


def test_without_a_gpu_the_rates_of_the_cpu_count(demo: Study) -> None:
    trial = optimizations(demo)[0]
    found = rate(seconds=2e-6, overhead=3.0, flops=1e9)
    on_cpu = cost.Costs(Work(), cost.Rehearsed({cost.shape(trial): found}, "a CPU"), lambda kind: 0.0)
    assert on_cpu.seconds(trial) == pytest.approx(3 + 2e-6 * Work().of(trial))
