"""A study on stand-ins of official data sets, for the tests of preflight and of whole sweeps."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

OFFICIAL = Path(__file__).parent / "official.yaml"


def write_official(folder: Path) -> Path:
    """official.yaml with its weights in a file, and stand-ins of all that it names, in `folder`; returns the grid."""
    from workers.data import stand_ins  # loads torch
    from workers.stand_ins import write_weights

    data = folder / "data"
    for layout in ("kadid10k", "koniq10k"):
        stand_ins.write_iqa(layout, data / layout, contents=4, per_content=4, side=64)
    stand_ins.write_images([data / "DIV2K_train_HR"], count=3, side=64, low_scale=2)
    stand_ins.write_images([data / "Set5"], count=2, side=64, seed=1)
    write_weights("timm/test_resnet.r160_in1k", folder / "resnet.safetensors")
    grid = folder / "grid.yaml"
    text = OFFICIAL.read_text()
    assert text.count("weights: released") == 1
    grid.write_text(text.replace("weights: released", "weights: {file: resnet.safetensors}"))
    return grid


@pytest.fixture(scope="session")
def official_study() -> Callable[[Path], Path]:
    return write_official


@pytest.fixture(scope="session")
def object_store() -> Iterator[str]:
    """What an address needs behind its `?` to reach a local S3-compatible server, which has a bucket."""
    from tests import object_store as local

    with local.server() as query:
        yield query


@pytest.fixture
def storage(object_store: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty store on that server."""
    from tests import object_store as local

    for name, value in local.KEYS.items():
        monkeypatch.setenv(name, value)
    return f"s3://{local.BUCKET}/{uuid.uuid4().hex[:8]}?{object_store}"
