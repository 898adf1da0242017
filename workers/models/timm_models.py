"""Backbones from timm: any of its released models that yields feature maps."""

from pathlib import Path
from typing import Any

import timm
import torch
from timm.models.vgg import VGG
from torch import nn

from orchestrator import spec
from workers.models.feature_maps import Backbone, fit_sizes
from workers.models.released import UnusableWeights, reading

DISTS_MAPS = 5
"""Of a VGG's six maps: relu1_2, 2_2, 3_3, 4_3 and 5_3 in VGG-16. The sixth, pool5, is no stage of DISTS."""


def build(name: str) -> Backbone:
    """The timm model `name` (`<model>.<tag>`), weights drawn from the global generator; the tag fixes mean and std.

    Raises ValueError for a name that timm has no released weights of, and for a model that cannot be a backbone.
    """
    _check_name(name)
    # A VGG's two wide classifier layers, removed at once, would be nine tenths of the work.
    tiny_classifier: dict[str, Any] = {"mlp_ratio": 1 / 4096} if name.startswith("vgg") else {}
    return _backbone(name, create(name, num_classes=0, **tiny_classifier))


def load(name: str, file: Path) -> Backbone:
    """The timm model `name` with the weights of `file`, in any layout that timm itself converts for this model.

    Raises UnusableWeights for a file that is damaged or not of this model, else as `build`.
    """
    _check_name(name)
    with reading(file, f"timm/{name}"):
        backbone, twin = (_backbone(name, _create_loaded(name, file)) for _ in range(2))
    # timm loads a few families leniently; what no file filled differs between the two, whose initial draws differ.
    weights = twin.state_dict()
    missing = [key for key, tensor in backbone.state_dict().items() if not torch.equal(tensor, weights[key])]
    if missing:
        shown = ", ".join(missing[:3])
        raise UnusableWeights(
            f"{file}: has no weights for {len(missing)} tensors of timm/{name} (such as {shown}); name the model that "
            "the file belongs to"
        )
    return backbone


def create(name: str, **settings: Any) -> nn.Module:
    """timm's model `name`, set to take images of any size where its class has a switch for it."""
    for switch in ("dynamic_img_size", "strict_img_size"):
        try:
            return _create(name, **settings, **{switch: switch == "dynamic_img_size"})
        except TypeError as error:
            if switch not in str(error):
                raise
    return _create(name, **settings)


def _create(name: str, **settings: Any) -> nn.Module:
    network: nn.Module = timm.create_model(name, **settings)
    return network


def _create_loaded(name: str, file: Path) -> nn.Module:
    # Not `checkpoint_path`, which skips the conversions that timm does for released files.
    return create(name, pretrained=True, pretrained_cfg_overlay={"file": str(file)})


def _backbone(name: str, network: nn.Module) -> Backbone:
    released: Any = network.pretrained_cfg
    mean, std = released["mean"], released["std"]
    if isinstance(network, VGG):  # takes any size without padding, as in DISTS, while four pools leave a pixel
        return Backbone(network, maps=DISTS_MAPS, minimum_size=16, mean=mean, std=std)
    return fit_sizes(f"timm/{name}", network, released["input_size"][-1], mean, std)


def _check_name(name: str) -> None:
    released = timm.list_pretrained()
    if name not in released:
        tags = [known for known in released if known.split(".")[0] == name.split(".")[0]]
        raise spec.unknown("model", f"timm/{name}", [f"timm/{known}" for known in tags or released])
