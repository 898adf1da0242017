"""FR-IQA: fits a DISTS-style metric, D(x, y) = 1 - sum(alpha l + beta s), on a frozen backbone.

The backbone is frozen, so l and s of a pair never change: one pass over the data yields a table (statistics.py), and
fitting alpha and beta is a small constrained problem on it (losses/dists.py).

numbers: validation_srcc (of the kept weights), validation_srcc_last (of the last iteration), validation_srcc_uniform
(all channels equal)
"""

from functools import partial

from orchestrator.spec import FrIqa
from workers.context import Context, Result
from workers.losses.dists import Dists, fit, with_l2_pooling
from workers.resuming import Steps
from workers.statistics import quality_of, table
from workers.training import Curves, write_predictions
from workers.weights import initial_backbone, save_metric


def run(spec: FrIqa, context: Context) -> Result:
    """Fits on the training set, stops on the validation set, exports the metric and its validation predictions."""
    backbone = with_l2_pooling(initial_backbone(spec, context, "weights")).to(context.device)
    train, validation = table(backbone, spec, spec.train, context), table(backbone, spec, spec.validation, context)
    fitted = fit(
        train.luminance, train.structure, train.quality,
        validation.luminance, validation.structure, validation.quality,
        spec.fit, partial(Steps, context, of="fit"),
    )  # fmt: skip
    curves = Curves()
    for step, (plcc, srcc) in enumerate(fitted.curve):
        curves.add(step, {"train_plcc": plcc, "validation_srcc": srcc})
    curves.write(context.out)
    save_metric(context.out, Dists(backbone, fitted.alpha, fitted.beta), spec.backbone.model)
    predicted = quality_of(validation, fitted.alpha, fitted.beta)
    write_predictions(context, spec.KIND, validation.data, spec.validation.name, "validation", predicted)
    return Result(
        numbers={
            "validation_srcc": fitted.validation_srcc,
            "validation_srcc_last": fitted.curve[-1][1],
            "validation_srcc_uniform": fitted.validation_srcc_uniform,
        }
    )
