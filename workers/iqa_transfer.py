"""IQA transfer: trains an FR or NR quality model end to end, from random weights, a pretext, or the backbone of the
discriminator that one super-resolution trial trained.

The step with the lowest squared error on the validation set is kept, whatever the training's loss; step 0 is the best
constant, the mean quality of the training set. A loss that is not finite ends the run as diverged.

numbers: validation_mse (of the kept step), validation_mse_last (of the last), validation_mse_constant (of that
constant), validation_srcc, best_step
"""

from typing import Any

import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import Tensor

from orchestrator.spec import IqaDataSet, IqaTransfer
from workers.context import Context, Result
from workers.data.iqa_sets import IqaBatches, IqaSet, open_set
from workers.losses.regression import regression_loss
from workers.models.iqa import IqaModel
from workers.predictions import iqa_quality
from workers.training import Loop, derive_seed
from workers.weights import initial_backbone, save_iqa_model


def run(spec: IqaTransfer, context: Context) -> Result:
    """Trains the model and exports its best step."""
    training = spec.training
    train, validation = open_set(spec.train, context.sources), open_set(spec.validation, context.sources)
    constant = float(train.quality.mean())
    seed = derive_seed("iqa head", spec.seed)
    model = IqaModel(
        initial_backbone(spec, context, "weights"), spec.task, constant, seed, training.features, training.head
    )
    model.to(context.device)
    optimizer = torch.optim.Adam(parameter_groups(model, training.learning_rate, training.backbone_factor))
    best = Best(model, validation)
    # A ladder's images are crops already.
    crop = spec.train.crop if isinstance(spec.train, IqaDataSet) else 0
    batches = IqaBatches(train, training.batch, derive_seed("iqa_transfer batches", spec.seed), crop)
    loop = Loop(context, training.steps, {"model": model, "optimizer": optimizer, "best": best})
    for step, batch in loop.batches(batches.batch):
        reference = batch.reference.to(context.device) if batch.reference is not None else None
        score = model(batch.distorted.to(context.device), reference)
        loss = regression_loss(training.loss, score, batch.quality.to(context.device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loop.log(step, loss=loss)
        if not loss.isfinite():
            return loop.diverged(f"the loss is {loss.item()} at step {step}", {})
        if (step + 1) % training.evaluate_every == 0 or step + 1 == training.steps:
            best.evaluate(step + 1)
            loop.curves.add(step, {"validation_mse": best.last})
    loop.curves.write(context.out)
    save_iqa_model(context.out, best.state, spec.backbone.model, spec.task, training.features, training.head)
    constant_error = float(((validation.quality - constant) ** 2).mean())
    return Result(numbers={"validation_mse_constant": constant_error, **best.numbers()})


class Best:
    """The parameters of the evaluated step with the lowest validation error."""

    def __init__(self, model: IqaModel, validation: IqaSet) -> None:
        self.model, self.validation = model, validation
        self.quality = torch.from_numpy(validation.quality.copy())
        self.mse, self.step, self.last = float("inf"), 0, float("inf")
        self.scores = torch.zeros_like(self.quality)
        self.state: dict[str, Tensor] = {}
        self.evaluate(0)

    def evaluate(self, step: int) -> None:
        """Keeps the model's parameters when they are better than the best so far."""
        scores = iqa_quality(self.model, self.validation)
        self.last = float(F.mse_loss(scores, self.quality))
        if self.last < self.mse:
            self.mse, self.step, self.scores = self.last, step, scores
            self.state = {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def numbers(self) -> dict[str, float]:
        """Figures of the best step. A constant prediction has no SRCC: it is left out then."""
        found = {"validation_mse": self.mse, "validation_mse_last": self.last, "best_step": float(self.step)}
        if self.scores.std() > 0:
            found["validation_srcc"] = float(spearmanr(self.scores, self.quality).statistic)
        return found

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"mse": self.mse, "step": self.step, "last": self.last, "scores": self.scores, "state": self.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.mse, self.step, self.last = state["mse"], state["step"], state["last"]
        self.scores, self.state = state["scores"].cpu(), state["state"]


def parameter_groups(model: IqaModel, rate: float, backbone_factor: float) -> list[dict[str, Any]]:
    """The head at `rate`, the backbone at `backbone_factor` of it."""
    backbone = list(model.backbone.parameters())
    own = {id(parameter) for parameter in backbone}
    head = [parameter for parameter in model.parameters() if id(parameter) not in own]
    return [{"params": head, "lr": rate}, {"params": backbone, "lr": rate * backbone_factor}]
