"""What fitting the study's six metrics costs: `python tests/bench/metric_fit.py [--device cuda]`.

One pass over a slice of pairs of KADID-10k's size (512 x 384) per backbone, extrapolated to its 10,125 pairs; then the
fit on a table of the true size (random numbers: the cost does not depend on them). Random weights, the same cost.
"""

import argparse
import resource
import time

import torch

from orchestrator.spec import MetricFit
from workers.losses.dists import channel_statistics, fit, with_l2_pooling
from workers.models import backbones

MODELS = {
    "VGG-16-R, VGG-16": "timm/vgg16.tv_in1k",
    "ResNet-50": "timm/resnet50.tv2_in1k",
    "ConvNeXt": "timm/convnext_tiny.fb_in1k",
    "CLIP-ViT": "open_clip/ViT-B-16-quickgelu",
    "Swin-T": "timm/swin_tiny_patch4_window7_224.ms_in1k",
}
PAIRS, TRAIN, VALIDATION, ITERATIONS = 10_125, 6_075, 2_025, 300
SLICE, FEW = 6, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    device = parser.parse_args().device
    torch.set_num_threads(1)
    print(f"{SLICE} pairs measured of {PAIRS:,}, {FEW} iterations of {ITERATIONS}; {device}, one thread\n")
    print("| backbone | channels | s a pair | pass over 10,125 pairs | table | fit, 300 iterations | peak memory |")
    print("|---|---|---|---|---|---|---|")
    for name, model in MODELS.items():
        print(row(name, model, device), flush=True)


def row(name: str, model: str, device: str) -> str:
    backbone = with_l2_pooling(backbones.build(model, seed=0)).to(device)
    channels = 3 + sum(backbone.channels)
    seconds = one_pass(backbone, device) / SLICE
    fitting = one_fit(channels) / FEW * ITERATIONS
    table = PAIRS * 2 * channels * 4 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    whole = f"{seconds * PAIRS / 60:.0f} min"
    return f"| {name} | {channels} | {seconds:.2f} | {whole} | {table:.0f} MB | {fitting:.0f} s | {peak:.1f} GB |"


@torch.no_grad()
def one_pass(backbone: backbones.Backbone, device: str) -> float:
    """Seconds of the statistics of SLICE pairs, one at a time, after one to warm up."""
    images = torch.rand(SLICE + 1, 2, 1, 3, 384, 512).to(device)
    channel_statistics(backbone, *images[0])
    started = time.perf_counter()
    for distorted, reference in images[1:]:
        channel_statistics(backbone, distorted, reference)
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - started


def one_fit(channels: int) -> float:
    """Seconds of FEW iterations on tables of the true size."""
    train, validation = torch.rand(2, TRAIN, channels), torch.rand(2, VALIDATION, channels)
    settings = MetricFit(iterations=FEW, learning_rate=0.05)
    started = time.perf_counter()
    fit(*train, torch.rand(TRAIN), *validation, torch.rand(VALIDATION), settings)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
