"""Judging: equal neighbours are scored together, within a bound on pixels, by judges that are built once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workers import judges
from workers.data.sr_pairs import Pair
from workers.judging import MOST_PIXELS, alike


def pair(name: str, height: int, width: int) -> Pair:
    image = np.zeros((height, width, 3), np.uint8)
    return Pair(name, name, image, image)


def names(groups: list[list[Pair]]) -> list[str]:
    return [" ".join(pair.image_name for pair in group) for group in groups]


def test_neighbours_of_equal_size_are_scored_together_and_order_stays() -> None:
    pairs = [pair("a", 48, 64), pair("b", 48, 64), pair("c", 64, 48), pair("d", 48, 64)]
    assert names(list(alike(pairs))) == ["a b", "c", "d"]


def test_a_batch_holds_a_bounded_number_of_pixels() -> None:
    side = 512
    most = MOST_PIXELS // side**2
    pairs = [pair(str(i), side, side) for i in range(most + 1)]
    assert [len(group) for group in alike(pairs)] == [most, 1]
    assert [len(group) for group in alike([pair("large", 2048, 1024)])] == [1]


def test_judges_are_built_once_for_many_trials(micro: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    build = judges.build
    monkeypatch.setattr(judges, "build", lambda name, *given: (built.append(name), build(name, *given))[1])
    judges._judge.cache_clear()
    for i, name in enumerate(["psnr", "piqe", "psnr", "piqe"]):
        outcome = micro.run(micro.trial(name), tmp_path / str(i))
        assert outcome.numbers == micro.record(name)["numbers"]
    assert built == ["psnr", "piqe"]
