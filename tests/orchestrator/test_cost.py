"""Seconds of a trial: measured by shape where records are, else estimated from steps."""

import json
from pathlib import Path

import pytest

from orchestrator import cost
from orchestrator.identity import key
from orchestrator.matrix import Study
from orchestrator.store import Store


def optimizations(study: Study) -> list:
    return [label.spec for label in study.labels if label.role == "optimization"]


def record(store: Store, spec, text: str) -> None:
    folder = store.prepare(spec)
    (folder / "record.json").write_text(text)


def test_shape_leaves_out_seeds_and_keeps_what_costs(demo: Study) -> None:
    shapes = {cost.shape(spec) for spec in optimizations(demo)}
    # (pixel and 5 models, vgg-r and vgg being one) x (none, vanilla vgg, patch vgg, patch vit), and the longer warm-up
    assert len(shapes) == 6 * 4 + 1
    for label in demo.labels:
        assert cost.shape(label.spec).startswith(label.spec.KIND)


def test_estimate_grows_with_steps_and_is_never_zero(demo: Study) -> None:
    assert all(cost.estimate(label.spec) >= cost.SECONDS_AT_LEAST for label in demo.labels)
    seconds = {spec.training.steps: cost.estimate(spec) for spec in optimizations(demo)}
    assert seconds == {30: pytest.approx(30 * 0.12), 900: pytest.approx(900 * 0.12)}


def test_median_of_the_records_of_one_shape_stands_for_the_others(demo: Study, tmp_path: Path) -> None:
    store = Store(tmp_path)
    one_shape: dict[str, list] = {}
    for spec in optimizations(demo):
        one_shape.setdefault(cost.shape(spec), []).append(spec)
    trials = max(one_shape.values(), key=len)
    for spec, seconds in zip(trials, (5.0, 100.0, 7.0), strict=False):
        record(store, spec, json.dumps({"seconds": seconds}))
    costs = cost.Costs.from_store(store, [(spec, key(spec)) for spec in trials[:3]])
    assert {costs.seconds(spec) for spec in trials} == {7.0}
    other = next(spec for spec in optimizations(demo) if cost.shape(spec) != cost.shape(trials[0]))
    assert costs.seconds(other) == cost.estimate(other)


def test_at_most_so_many_records_are_read(demo: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, read = Store(tmp_path), []
    monkeypatch.setattr(store, "record", lambda kind, key: read.append(key) or {"seconds": 1.0})
    judgings = [(label.spec, key(label.spec)) for label in demo.labels if label.role == "judging"]
    cost.Costs.from_store(store, judgings, most=3)
    assert len(read) == 3 * 2 * 5  # test sets x judges


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", '{"seconds": null}', '{"seconds": "x"}', "\xff"])
def test_damaged_record_costs_an_estimate_not_the_plan(text: str, demo: Study, tmp_path: Path) -> None:
    store, spec = Store(tmp_path), optimizations(demo)[0]
    record(store, spec, text)
    costs = cost.Costs.from_store(store, [(spec, key(spec))])
    assert costs.seconds(spec) == cost.estimate(spec)
