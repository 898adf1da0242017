"""Circularity: which judges share a network with which losses, as a declared table.

A judge that looks through the very network that a loss was built on favours that loss whatever its images look like.
`plan` names such pairs. Three degrees, the strongest first:

- *weights*: the judge's frozen weights are the loss's own;
- *pretraining*: its weights were trained, or fine-tuned from weights that were trained, on the same images with the
  same objective by the same people (OpenAI's CLIP; the ImageNet-21k ViT that MANIQA starts from);
- *architecture*: the same trunk at the same size, whatever its patch size and weights: VGG-16, ResNet-50, ViT-B, ViT-B
  with CLIP's changes, AlexNet. Randomly drawn weights can share no more than this.

That two networks learned ImageNet's labels does not count: nearly all of them did. Nor do parts below a trunk: MUSIQ's
first convolutions resemble a ResNet's, MANIQA's head has Swin blocks of its own width. The small networks of the demo
share no trunk with any judge.
"""

import re
from dataclasses import dataclass

from orchestrator.spec import unknown


@dataclass(frozen=True, kw_only=True)
class Kinship:
    """What a judge's network is kin to. The patterns are regular expressions for whole names, empty for none:
    `architecture` for `<model>`, the others for timm's `<model>`, which holds its tag, and open_clip's `<model>.<tag>`.
    """

    network: str
    """The judge's network and weights in words; empty for a judge without a network."""
    source: str
    """Where this was read: a file of pyiqa 0.1.16 or of ours and what is in it, e.g. the definition of a judge without
    a network."""
    architecture: str = ""
    pretraining: str = ""
    weights: str = ""


_OPENAI_CLIP = r"open_clip/[^.]*\.openai|timm/.*clip.*\.openai(_ft_.*)?"
_VIT_B = r"timm/vit_base_patch.*|open_clip/ViT-B-(16|32).*"

_ALEXNET = Kinship(
    network="AlexNet, ImageNet, frozen",
    source="lpips_arch.py: net alex, torchvision's alexnet IMAGENET1K_V1 under LPIPS_v0.1_alex",
    architecture=r"(timm|open_clip)/alexnet.*",
)
_VGG16 = Kinship(
    network="VGG-16, ImageNet, frozen",
    source="dists_arch.py and lpips_arch.py: torchvision's vgg16 IMAGENET1K_V1",
    architecture=r"timm/vgg16(_bn)?(\..*)?",
    weights=r"timm/vgg16\.tv_in1k",  # timm's tag of torchvision's file
)
_RESNET50 = Kinship(
    network="ResNet-50, ImageNet, fine-tuned on KonIQ-10k",
    source="topiq_arch.py: timm's resnet50 (a1_in1k), its weights replaced by cfanet_nr_koniq_res50's",
    architecture=r"timm/resnet50(\..*)?",
    pretraining=r"timm/resnet50\.a1_in1k",
)
_VIT_B8 = Kinship(
    network="ViT-B/8, ImageNet-21k, fine-tuned on KonIQ-10k",
    source="maniqa_arch.py: timm's vit_base_patch8_224 (augreg), its weights replaced by ckpt_koniq10k's",
    architecture=_VIT_B,
    pretraining=r"timm/vit_base_patch8_224\.augreg.*",
)
_CLIP_RN50 = Kinship(
    network="OpenAI's CLIP RN50, frozen under learned prompts",
    source="clipiqa_arch.py: backbone RN50, kept out of the trained parameters",
    architecture=r"open_clip/RN50(-quickgelu)?(\..*)?|timm/resnet50_clip(_gap)?(\..*)?",
    pretraining=_OPENAI_CLIP,
    weights=r"open_clip/RN50(-quickgelu)?\.openai|timm/resnet50_clip(_gap)?\.openai",
)
_CLIP_VIT_B32 = Kinship(
    network="OpenAI's CLIP ViT-B/32, fine-tuned on labels of quality",
    source="liqe_arch.py: ViT-B/32 with liqe_koniq.pt; afine_arch.py: ViT-B/32 with finetuned_clip of afine.pth",
    architecture=_VIT_B,
    pretraining=_OPENAI_CLIP,
)


def _no_network(definition: str) -> Kinship:
    return Kinship(network="", source=definition)


KINSHIP: dict[str, Kinship] = {
    "musiq": Kinship(
        network="a multi-scale Transformer of 384 channels under one residual block, ImageNet, fine-tuned on KonIQ-10k",
        source="musiq_arch.py: StdConv, Bottleneck and TransformerEncoder of its own, musiq_koniq_ckpt",
    ),
    "maniqa": _VIT_B8,
    "topiq_nr": _RESNET50,
    "clipiqa+": _CLIP_RN50,
    "liqe": _CLIP_VIT_B32,
    "liqe_mix": _CLIP_VIT_B32,
    "afine_all_scale": _CLIP_VIT_B32,
    "afine_all": _CLIP_VIT_B32,
    "afine_fr": _CLIP_VIT_B32,
    "afine_nr": _CLIP_VIT_B32,
    "lpips": _ALEXNET,
    "lpips-vgg": _VGG16,
    "dists": _VGG16,
    "psnr": _no_network("psnr_arch.py: the mean squared error on a logarithmic scale"),
    "psnry": _no_network("psnr_arch.py: the mean squared error of luma on a logarithmic scale"),
    "ssim": _no_network("ssim_arch.py: local means, variances and covariances under a Gaussian window"),
    "ms_ssim": _no_network("ssim_arch.py: SSIM at five scales"),
    "vif": _no_network("vif_arch.py: mutual information in a steerable pyramid"),
    "gmsd": _no_network("gmsd_arch.py: deviation of the similarity of Prewitt gradients"),
    "vsi": _no_network("vsi_arch.py: saliency from frequency, colour and position, and Scharr gradients"),
    "fsim": _no_network("fsim_arch.py: phase congruency and Scharr gradients"),
    "nlpd": _no_network("nlpd_arch.py: a Laplacian pyramid with divisive normalization"),
    "piqe": _no_network("piqe_arch.py: variances of blocks of locally normalized luma"),
    "artifacts": _no_network("workers/artifacts.py: local variance of the residual where it exceeds the warm-up's"),
}
"""By pyiqa's name, or our own. A judge that is not here is an error: nobody has said what it is kin to."""


def shared(judge: str, backbone_model: str, weights: str) -> str | None:
    """Why the judge and a loss on this backbone are circular, in words that begin with the degree; None if not.

    Args:
        judge: pyiqa's name, or our own.
        backbone_model: as a grid names it: `timm/vgg16.tv_in1k`, `open_clip/ViT-B-16-quickgelu`, `small/vgg`.
        weights: `random`; open_clip's tag, e.g. `openai`; anything else means the released ones of timm's tag.

    Raises ValueError for a judge that the table does not have.
    """
    if judge not in KINSHIP:
        raise unknown("judge of the circularity table", judge, KINSHIP)
    kin = KINSHIP[judge]
    same_trunk = _matches(kin.architecture, backbone_model)
    words = f"{judge} is {kin.network}"
    if weights in OWN_WEIGHTS:
        return f"architecture only: {words}; the loss has its trunk with {weights} weights" if same_trunk else None
    tagged = f"{backbone_model}.{weights}" if backbone_model.startswith("open_clip/") else backbone_model
    if _matches(kin.weights, tagged):
        return f"weights: {words}; the loss has the same weights"
    if _matches(kin.pretraining, tagged):
        return f"pretraining: {words}; the loss ({backbone_model}, {weights}) comes from the same pretraining"
    return f"architecture: {words}; the loss has its trunk with other weights" if same_trunk else None


OWN_WEIGHTS = ("random", "pretext")
"""Weights that nobody released: drawn, or pretrained by the sweep itself."""


def _matches(pattern: str, name: str) -> bool:
    return bool(pattern) and re.fullmatch(pattern, name) is not None
