"""FR-IQA: fits a DISTS-style metric, D(x, y) = 1 - sum(alpha l + beta s), on a frozen backbone.

The backbone is frozen, so l and s of a pair never change: one pass over the data yields two tables, and fitting alpha
and beta is a small constrained problem on them (workers/losses/dists.py).

numbers: validation_srcc (of the kept weights), validation_srcc_last (of the last iteration), validation_srcc_uniform
(all channels equal)
"""

import torch
from torch import Tensor

from orchestrator.spec import FrIqa, RandomWeights
from workers.context import Context, Result
from workers.data.iqa_sets import IqaSet, ladder
from workers.losses.dists import Dists, channel_statistics, fit, with_l2_pooling
from workers.models import backbones
from workers.predictions import batches, metric_quality
from workers.training import Curves, derive_seed, write_predictions
from workers.weights import load_backbone, save_metric


def run(spec: FrIqa, context: Context) -> Result:
    """Fits on the training set, stops on the validation set, exports the metric and its validation predictions."""
    backbone = with_l2_pooling(_backbone(spec, context)).to(context.device)
    train, validation = ladder(spec.train), ladder(spec.validation)
    fitted = fit(*statistics(backbone, train), *statistics(backbone, validation), spec.fit)
    curves = Curves()
    for step, (plcc, srcc) in enumerate(fitted.curve):
        curves.add(step, {"train_plcc": plcc, "validation_srcc": srcc})
    curves.write(context.out)
    metric = Dists(backbone, fitted.alpha, fitted.beta).to(context.device)
    save_metric(context.out, metric, spec.backbone.model)
    write_predictions(
        context, spec.KIND, validation, spec.validation.name, "validation", metric_quality(metric, validation)
    )
    return Result(
        numbers={
            "validation_srcc": fitted.validation_srcc,
            "validation_srcc_last": fitted.curve[-1][1],
            "validation_srcc_uniform": fitted.validation_srcc_uniform,
        }
    )


@torch.no_grad()
def statistics(backbone: backbones.Backbone, data: IqaSet) -> tuple[Tensor, Tensor, Tensor]:
    """l and s, each (N, C), and quality (N,), of all pairs of a set, on the CPU."""
    device = next(backbone.parameters()).device
    tables = [channel_statistics(backbone, distorted, reference) for reference, distorted in batches(data, device)]
    luminance, structure = (torch.cat(parts).cpu() for parts in zip(*tables, strict=True))
    return luminance, structure, torch.from_numpy(data.quality.copy())


def _backbone(spec: FrIqa, context: Context) -> backbones.Backbone:
    if isinstance(spec.weights, RandomWeights):
        return backbones.build(spec.backbone.model, derive_seed(spec.weights.purpose, spec.weights.seed))
    return load_backbone(context.parent("weights"))
