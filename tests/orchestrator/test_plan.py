"""What is done, to do and why; what a change of a grid adds; the longest path."""

import random
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from orchestrator import plan, spec
from orchestrator.identity import Address
from orchestrator.matrix import Study
from orchestrator.plan import Plan

Edit = Callable[..., Path]
Expand = Callable[[Path], Study]
DRAWS = range(30)


def planned(study: Study, index: dict[Address, str]) -> Plan:
    result = plan.build((label.spec for label in study.labels), index, lambda _: 1.0)
    plan.explain(result, study.labels)
    return result


def all_done(study: Study) -> dict[Address, str]:
    return {(node.kind, node.key): "done" for node in planned(study, {}).nodes.values()}


def descendants(nodes: dict[str, plan.Node], roots: Iterable[str]) -> set[str]:
    """By repeated search over parents, which is slow and plainly right."""
    below = set(roots)
    while more := {name for name, node in nodes.items() if set(node.parents) & below} - below:
        below |= more
    return below - set(roots)


def test_parents_stand_before_children_and_know_them(demo: Study) -> None:
    nodes = planned(demo, {}).nodes
    order = {name: i for i, name in enumerate(nodes)}
    for name, node in nodes.items():
        assert all(order[parent] < order[name] for parent in node.parents)
        assert all(nodes[parent].children.count(name) == 1 for parent in node.parents)


def test_everything_is_to_do_in_an_empty_store_and_nothing_in_a_full_one(demo: Study) -> None:
    empty, full = planned(demo, {}), planned(demo, all_done(demo))
    assert len(empty.to_do()) == len(empty.nodes)
    assert all(node.why for node in empty.to_do())
    assert (full.to_do(), full.longest_path()) == ([], [])
    assert full.unused.total() == 0


def test_divergence_makes_exactly_the_descendants_not_applicable(demo: Study) -> None:
    nodes = planned(demo, {}).nodes
    kinds = ("super_resolution", "iqa_transfer")
    for root in [name for name, node in nodes.items() if node.kind in kinds][::17]:
        result = planned(demo, all_done(demo) | {(nodes[root].kind, root): "diverged"})
        cut = {name for name, node in result.nodes.items() if node.status == "not applicable"}
        assert cut == descendants(nodes, [root])
        assert result.nodes[root].status == "diverged"
        assert not result.to_do()


def test_a_failed_trial_is_tried_again(demo: Study) -> None:
    index = all_done(demo)
    failed = next(address for address in index if address[0] == "fr_iqa")
    (node,) = planned(demo, index | {failed: "failed"}).to_do()
    assert (node.key, node.status, node.why) == (failed[1], "failed", "failed before; will be tried again")


# a change of the finished demo -> new trials by kind. 2 test sets x 6 judges; FR models have 2 benchmarks, NR models 1
OPTIMIZATIONS_OF_SEED = (6 + 1) * 5
MODELS_OF_SEED = 2 * 2 * 2 + 6 * 4 * 2  # (random, pretext) x backbones x tasks, and gan
CHANGES = {
    "seed": (
        ("seeds: [0, 1]", "seeds: [0, 1, 2]"),
        {
            "fr_iqa": 1,  # vgg-r draws other weights
            "super_resolution": OPTIMIZATIONS_OF_SEED,
            "restoration": OPTIMIZATIONS_OF_SEED * 2,
            "judging": OPTIMIZATIONS_OF_SEED * 2 * 6,
            "iqa_transfer": MODELS_OF_SEED,
            "benchmark": 2 + MODELS_OF_SEED // 2 * 3,
        },
        "new seed 2",
    ),
    "loss": (
        ("loss: [vgg-r,", "loss: [resnet-r, vgg-r,"),
        {
            "fr_iqa": 2,
            "super_resolution": 10,
            "restoration": 20,
            "judging": 120,
            "iqa_transfer": 16,
            "benchmark": 2 * 2 + 8 * 3,
        },
        "new loss resnet-r",
    ),
    "discriminator": (
        ("    - none\n", "    - none\n    - {head: vanilla, backbone: vit, start: pretext}\n"),
        {"super_resolution": 14, "restoration": 28, "judging": 168, "iqa_transfer": 24, "benchmark": 12 * 3},
        "new discriminator vanilla-vit-pretext",
    ),
    "judge": (("beside: [psnr,", "beside: [nlpd, psnr,"), {"judging": 144}, "new judge nlpd"),
    "test set": (
        ("    natural: [", "    one: [brick]\n    natural: ["),
        {"restoration": 72, "judging": 72 * 6},
        "new data_set one",
    ),
    "benchmark": (
        ("      ladder: {", "      one: {photographs: [brick]}\n      ladder: {"),
        {"benchmark": 7 + 56},
        "new data_set one",
    ),
}


@pytest.mark.parametrize(("change", "expected", "why"), CHANGES.values(), ids=CHANGES)
def test_a_change_of_a_finished_grid_plans_exactly_the_new_trials(
    change: tuple[str, str], expected: dict[str, int], why: str, demo: Study, edited: Edit, expand: Expand
) -> None:
    file = edited(*change, base="demo")
    file.write_text(
        file.read_text().replace("backbones:", "backbones:\n  resnet-r: {model: small/resnet, weights: random}", 1)
    )
    result = planned(expand(file), all_done(demo))
    assert Counter(node.kind for node in result.to_do()) == expected
    assert {node.why.removeprefix("for a child: ") for node in result.to_do()} == {why}
    if set(expected) <= {"restoration", "judging", "benchmark"}:
        assert not [node for node in result.to_do() if node.kind in spec.TRAINING_KINDS]


def test_a_changed_setting_is_told_from_a_new_level(demo: Study, edited: Edit, expand: Expand) -> None:
    file = edited("iterations: 300", "iterations: 301", base="demo")
    result = planned(expand(file), all_done(demo))
    why = {node.why for node in result.to_do() if node.kind == "fr_iqa"}
    assert why == {"new settings (7 finished fr_iqa trials of the store are none of this plan's)"}
    file = edited("training: {steps: 30", "training: {steps: 31", base="demo")
    result = planned(expand(file), all_done(demo))
    why = {node.why for node in result.to_do() if node.kind == "super_resolution"}
    assert why == {"new settings (70 finished super_resolution trials of the store are none of this plan's)"}
    file = edited("nr: {steps: 80", "nr: {steps: 81", base="demo")
    result = planned(expand(file), all_done(demo))
    why = {node.why for node in result.to_do() if node.kind == "iqa_transfer"}
    edits = "or new settings (56 finished iqa_transfer trials of the store are none of this plan's)"
    assert why == {f"new task nr, {edits}"}


@pytest.mark.parametrize("draw", DRAWS)
def test_longest_path_by_brute_force(draw: int, random_graph: Callable[..., list[spec.Trial]]) -> None:
    generator = random.Random(draw)
    steps = random_graph(generator, 12)
    cost = {step.number: generator.choice([0.0, 1.0, 2.5, 7.0]) for step in steps}  # type: ignore[attr-defined]
    index = {
        (node.kind, node.key): "done"
        for node in plan.build(steps, {}, lambda _: 1.0).nodes.values()
        if generator.random() < 0.3
    }
    result = plan.build(steps, index, lambda step: cost[step.number])  # type: ignore[attr-defined]

    def paths(node: plan.Node) -> Iterable[list[plan.Node]]:
        yield [node]
        for child in map(result.nodes.__getitem__, node.children):
            if child.status == "to do":
                yield from ([node, *path] for path in paths(child))

    def seconds(path: list[plan.Node]) -> float:
        return sum(cost[node.spec.number] for node in path)  # type: ignore[attr-defined]

    for node in result.to_do():
        assert node.remaining == pytest.approx(max(map(seconds, paths(node))))
        below = [result.nodes[child].remaining for child in node.children if result.nodes[child].status == "to do"]
        assert node.remaining >= max(below, default=0.0)
    every = [path for node in result.to_do() for path in paths(node)]
    assert seconds(result.longest_path()) == pytest.approx(max(map(seconds, every), default=0.0))
    assert all(node.remaining == 0 for node in result.nodes.values() if node.status == "done")


def test_as_json_counts_what_is_planned(demo: Study) -> None:
    index = dict(list(all_done(demo).items())[::2])
    result = planned(demo, index)
    told = plan.as_json(result, demo.cells)
    assert (told["cells"], told["trials"]) == (576, len(result.nodes))
    assert told["to_do"] == len(told["new"]) == len(result.nodes) - len(index)
    assert sum(sum(counts.values()) for counts in told["by_kind"].values()) == told["trials"]
    assert told["longest_path"]["seconds"] == max(node.remaining for node in result.to_do())
    assert [x["key"] for x in told["longest_path"]["trials"]] == [node.key for node in result.longest_path()]
    assert all(set(new) == {"kind", "key", "why"} and new["why"] for new in told["new"])
