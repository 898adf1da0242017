"""Weights on disk: what is read is what was written, and anything else is refused by name."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from workers import weights
from workers.losses.dists import Dists, uniform_weights, with_l2_pooling
from workers.models import backbones
from workers.models.iqa import IqaModel

Spoil = Callable[[Path], object]


def test_tensors_and_metadata_come_back(tmp_path: Path) -> None:
    whole = torch.arange(6.0).reshape(2, 3)
    about = {"backbone": "small/vgg", "scale": 4, "generator": {"depths": [1, 2], "mlp_ratio": 2.0}, "start": None}
    weights.export(tmp_path / "weights" / "x.safetensors", {"a": whole, "view": whole.T[1:]}, **about)
    tensors, found = weights.read_weights(tmp_path / "weights" / "x.safetensors")
    assert found == about
    assert torch.equal(tensors["a"], whole)
    assert torch.equal(tensors["view"], whole.T[1:])


def test_equal_weights_are_equal_bytes(tmp_path: Path) -> None:
    about = {name: name for name in "abcdefgh"}
    for i in range(8):  # safetensors itself writes metadata in another order each time
        weights.export(tmp_path / str(i), {"x": torch.ones(2), "y": torch.zeros(1)}, **about)
    assert len({(tmp_path / str(i)).read_bytes() for i in range(8)}) == 1


def test_models_come_back(tmp_path: Path) -> None:
    image, other = torch.rand(2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    backbone = backbones.build("small/vgg", seed=1)
    weights.save_backbone(tmp_path, backbone, "small/vgg")
    again = weights.load_backbone(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(backbone(image), again(image), strict=True))
    metric = Dists(with_l2_pooling(backbone), *uniform_weights(3 + sum(backbone.channels)))
    weights.save_metric(tmp_path, metric, "small/vgg")
    assert torch.equal(weights.load_metric(tmp_path)(image, other), metric(image, other))
    model = IqaModel(backbone, "fr", initial_score=0.3, seed=0).eval()
    weights.save_iqa_model(tmp_path, model.state_dict(), "small/vgg", "fr")
    assert torch.equal(weights.load_iqa_model(tmp_path).eval()(image, other), model(image, other))


def test_the_store_holds_a_generator_of_the_specs_architecture(micro: Any) -> None:
    found = micro.trial("warm-up")
    _, about = weights.read_weights(micro.folder("warm-up") / "weights" / "generator.safetensors")
    assert about["scale"] == found.scale
    assert about["generator"]["channels"] == found.generator.channels
    generator = weights.load_generator(micro.folder("warm-up"))
    assert generator(torch.zeros(1, 3, 8, 8)).shape == (1, 3, 16, 16)


def test_a_gan_trial_exports_the_trained_backbone_of_its_discriminator(micro: Any) -> None:
    trained = weights.load_backbone(micro.folder("gan")).state_dict()
    start = weights.load_backbone(micro.folder("pretext")).state_dict()
    assert trained.keys() == start.keys()
    assert not all(torch.equal(value, start[name]) for name, value in trained.items())


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-5])


def put_pickle(file: Path) -> None:
    file.write_bytes(pickle.dumps({"a": 1}))


def put_checkpoint(file: Path) -> None:
    torch.save({"a": torch.ones(1)}, file)


def put_unknown(file: Path) -> None:
    save_file({"a": torch.ones(1)}, file)


def put_other_architecture(file: Path) -> None:
    weights.export(file, backbones.build("small/vit", seed=0).state_dict(), backbone="small/vgg")


def drop_a_tensor(file: Path) -> None:
    tensors, about = weights.read_weights(file)
    weights.export(file, dict(list(tensors.items())[1:]), **about)


def add_a_tensor(file: Path) -> None:
    tensors, about = weights.read_weights(file)
    weights.export(file, {**tensors, "extra": torch.ones(1)}, **about)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (truncate, "not readable as safetensors"),
        (put_pickle, "not readable as safetensors"),
        (put_checkpoint, "not readable as safetensors"),
        (put_unknown, "not the weights of a known model"),
        (put_other_architecture, "Missing key"),
        (drop_a_tensor, "Missing key"),
        (add_a_tensor, "Unexpected key"),
    ],
)
def test_a_spoilt_file_is_refused_by_name_and_with_a_remedy(spoil: Spoil, why: str, tmp_path: Path) -> None:
    file = tmp_path / "weights" / "backbone.safetensors"
    weights.save_backbone(tmp_path, backbones.build("small/vgg", seed=0), "small/vgg")
    spoil(file)
    with pytest.raises(weights.UnusableWeights) as refusal:
        weights.load_backbone(tmp_path)
    text = str(refusal.value)
    assert text.startswith(f"{file}: ")
    assert why in text
    assert text.endswith("remove its trial's folder and run again")
    assert "\n" not in text


@pytest.mark.parametrize("name", ["backbone", "generator", "metric", "iqa_model"])
def test_missing_weights_say_what_to_run(name: str, tmp_path: Path) -> None:
    with pytest.raises(weights.UnusableWeights, match=r"safetensors: no such weights; .* run it first"):
        getattr(weights, f"load_{name}")(tmp_path)


@pytest.mark.parametrize("name", ["generator", "metric", "iqa_model"])
def test_weights_of_another_kind_are_refused(name: str, tmp_path: Path) -> None:
    file = tmp_path / "weights" / f"{name.removesuffix('_model')}.safetensors"
    weights.export(file, backbones.build("small/vgg", seed=0).state_dict(), backbone="small/vgg")
    with pytest.raises(weights.UnusableWeights, match=r"not the weights of .* remove its trial's folder"):
        getattr(weights, f"load_{name}")(tmp_path)
