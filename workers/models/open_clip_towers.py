"""Backbones from open_clip: the image tower of a CLIP model, on images of any size."""

from pathlib import Path
from typing import Any, Self

import open_clip
import torch
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from timm.layers import resample_abs_pos_embed, to_2tuple
from torch import Tensor, nn

from orchestrator import spec
from workers.models import timm_models
from workers.models.feature_maps import Backbone, fit_sizes
from workers.models.released import reading

# A CLIP model comes with a text tower, which no map needs.
TINY_TEXT = {"context_length": 1, "vocab_size": 1, "width": 8, "heads": 1, "layers": 1}


class TransformerMaps(nn.Module):
    """The outputs of all blocks of open_clip's own vision transformer, without the class token. `tower` takes one size
    only; here its position embedding is resampled to the image's grid, as timm does it."""

    def __init__(self, tower: VisionTransformer) -> None:
        super().__init__()
        self.tower = tower
        blocks, channels = len(tower.transformer.resblocks), tower.transformer.width
        self.feature_info = [{"num_chs": channels, "reduction": tower.patch_size[0]} for _ in range(blocks)]

    def train(self, mode: bool = True) -> Self:
        """As usual, but attention, which has no dropout, always counts as in training: in evaluation PyTorch computes
        it another way for images without gradient, and an image would differ from itself as its own reference."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.MultiheadAttention):
                module.training = True
        return self

    def prune_intermediate_layers(self, indices: list[int], **parts: bool) -> None:
        """Removes what lies behind the blocks `indices`: pooling, and the `parts` prune_norm and prune_head."""
        self.tower.prune_intermediate_layers(indices, **parts)
        self.tower.attn_pool = None

    def forward_intermediates(self, image: Tensor, intermediates_only: bool = True) -> list[Tensor]:
        """Maps of `image` (N3HW, normalised, H and W multiples of the patch), each N x channels x H/patch x W/patch."""
        tower = self.tower
        patches = tower.conv1(image)
        height, width = patches.shape[2:]
        positions = resample_abs_pos_embed(
            tower.positional_embedding[None], [height, width], list(tower.grid_size), num_prefix_tokens=1
        )
        first = tower.class_embedding.expand(len(image), 1, -1)
        tokens = torch.cat((first, patches.flatten(2).transpose(1, 2)), 1) + positions
        _, blocks = tower.transformer.forward_intermediates(tower.ln_pre(tokens))
        return [block[:, 1:].transpose(1, 2).unflatten(2, (height, width)) for block in blocks]


class ResNetMaps(nn.Module):
    """The stem and the four stages of open_clip's own ResNet, without its attention pool."""

    def __init__(self, tower: ModifiedResNet) -> None:
        super().__init__()
        self.tower = tower
        stem = tower.conv3.out_channels
        channels, reductions = (stem, 4 * stem, 8 * stem, 16 * stem, 32 * stem), (4, 4, 8, 16, 32)
        self.feature_info = [{"num_chs": c, "reduction": r} for c, r in zip(channels, reductions, strict=True)]

    def prune_intermediate_layers(self, indices: list[int], **parts: bool) -> None:
        """Removes the attention pool: the one layer behind the stages, and the one that fixes the image's size."""
        self.tower.attnpool = None

    def forward_intermediates(self, image: Tensor, intermediates_only: bool = True) -> list[Tensor]:
        """Maps of `image` (N3HW, normalised), from the stem to the fourth stage."""
        maps: list[Tensor] = self.tower.forward_intermediates(image, intermediates_only=True)["image_intermediates"]
        return maps


def build(name: str) -> Backbone:
    """The image tower of open_clip's model `name`, weights drawn from the global generator.

    Raises ValueError for a name that open_clip does not know, and for a tower that cannot be a backbone.
    """
    config = _config(name)
    quick_gelu = config.get("quick_gelu", False)
    return _backbone(name, open_clip.CLIP(config["embed_dim"], config["vision_cfg"], TINY_TEXT, quick_gelu).visual)


def load(name: str, file: Path) -> Backbone:
    """The image tower of the whole CLIP model in `file`, which open_clip itself loads, strictly.

    Raises UnusableWeights for a file that is damaged or not of this model, else as `build`.
    """
    text = _config(name)["text_cfg"].get("hf_model_name")
    if text:
        raise ValueError(f"model: open_clip/{name} needs the text tower {text} from the network; take one without")
    with reading(file, f"open_clip/{name}"):
        clip: Any = open_clip.create_model(name, pretrained=str(file.absolute()))
    return _backbone(name, clip.visual)


def _config(name: str) -> dict[str, Any]:
    if name not in open_clip.list_models():
        raise spec.unknown("model", f"open_clip/{name}", [f"open_clip/{known}" for known in open_clip.list_models()])
    config: dict[str, Any] = open_clip.get_model_config(name)
    return config


def _backbone(name: str, tower: nn.Module) -> Backbone:
    if isinstance(tower, TimmModel):
        return _timm_backbone(name, tower)
    network = ResNetMaps(tower) if isinstance(tower, ModifiedResNet) else TransformerMaps(tower)
    return fit_sizes(f"open_clip/{name}", network, max(to_2tuple(tower.image_size)), *_mean_and_std(name))


def _timm_backbone(name: str, tower: TimmModel) -> Backbone:
    """The tower's trunk, built again so that it takes images of any size."""
    trunk = timm_models.create(_config(name)["vision_cfg"]["timm_model_name"], num_classes=0)
    backbone = fit_sizes(f"open_clip/{name}", trunk, max(to_2tuple(tower.image_size)), *_mean_and_std(name))
    # The same parts are cut off the trunk that has the weights.
    released = Backbone(tower.trunk).network.state_dict()
    backbone.network.load_state_dict(released, strict=True)
    return backbone


def _mean_and_std(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What all released weights of `name` were trained with; CLIP's own where none are, or where they differ. They do
    for one model: ViT-L-14's laion2b_s32b_b82k had 0.5 and 0.5."""
    released = [open_clip.get_pretrained_cfg(name, tag) for tag in open_clip.list_pretrained_tags_by_model(name)]
    found = {(tuple(settings["mean"]), tuple(settings["std"])) for settings in released}
    return found.pop() if len(found) == 1 else (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
