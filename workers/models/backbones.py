"""Feature backbones behind one interface, so that losses, discriminators and IQA models need not know which they hold.

A `Backbone` takes an image in [0, 1], normalises and pads it itself, and returns a list of NCHW maps (tokens of
Transformers folded back), from shallow to deep. A model is named `small/<name>`, `timm/<model>.<tag>` or
`open_clip/<model>`: the last two need no line of code each. An open_clip name must say `-quickgelu` where its released
weights were trained so (openai's were). Nothing here reaches for the network.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file

from orchestrator import spec
from workers.models import timm_models
from workers.models.feature_maps import Backbone
from workers.models.released import UnusableWeights, reading
from workers.models.small import SMALL

__all__ = ["BACKBONES", "Backbone", "UnusableWeights", "build", "load_released"]

BACKBONES: dict[str, Callable[[], Backbone]] = SMALL
"""The models that have a line of code each; timm and open_clip know the rest."""


def build(model: str, seed: int) -> Backbone:
    """The backbone `model` with weights drawn from `seed`; the global generator is left as it was.

    Raises ValueError for a name that nobody knows, naming the nearest, and for a model that yields no feature maps.
    """
    family, _, name = model.partition("/")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if family == "timm":
            return timm_models.build(name)
        if family == "open_clip":
            from workers.models import open_clip_towers  # a second of every worker's start, for those who need it

            return open_clip_towers.build(name)
        if model in BACKBONES:
            return BACKBONES[model]()
    raise spec.unknown("model", model, [*BACKBONES, "timm/<model>.<tag>", "open_clip/<model>"])


# A residual branch with a smaller scale than this is switched off, whatever its weights. [ours]
SWITCHED_OFF = 1e-3


def awaken(backbone: Backbone) -> Backbone:
    """Sets to one every scale of a residual branch that initialization puts at or near zero (the last batch norm of a
    ResNet's blocks, layer scale), and returns the backbone.

    Such a start helps training; a random network that stays frozen, as a loss, would be its stem and shortcuts alone.
    """
    for name, parameter in backbone.named_parameters():
        vector = parameter.numel() == max(parameter.shape, default=0)
        shift = name.rpartition(".")[2] in ("bias", "beta")
        constant = bool((parameter == parameter.flatten()[0]).all())
        if vector and constant and not shift and parameter.detach().abs().max() <= SWITCHED_OFF:
            torch.nn.init.ones_(parameter)
    return backbone


def load_released(model: str, file: Path) -> Backbone:
    """The backbone `model` with the released weights in `file` (.safetensors, .bin or .pth), read without running code
    of the file; for a `small/` model, of which nobody releases weights, the `backbone.safetensors` of a trial. The
    backbone's state dict fits `build(model, 0)` with strict=True.

    Raises UnusableWeights (a ValueError) for a file that is missing, truncated or of another model, and ValueError as
    `build` does.
    """
    family, _, name = model.partition("/")
    with torch.random.fork_rng(devices=[]):  # what the file overwrites is drawn first
        if family == "timm":
            return timm_models.load(name, file)
        if family == "open_clip":
            from workers.models import open_clip_towers

            return open_clip_towers.load(name, file)
        backbone = build(model, 0)
    with reading(file, model):
        backbone.load_state_dict(load_file(file), strict=True)
    return backbone
