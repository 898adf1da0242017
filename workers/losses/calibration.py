"""The weighted sum of loss terms, and weights that are measured instead of guessed.

Equal raw weights would compare the scales of gradients, not losses. A calibrated weight w makes the mean norm of the
term's gradient with respect to the output, w |dL/dy|, a stated multiple of a reference loss's at weight 1.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from orchestrator.spec import Calibrated, Weight
from workers.losses.adversarial import AdversarialLoss
from workers.losses.dists import Dists

Term = Callable[[Tensor, Tensor], Tensor]


class Terms:
    """The terms that a generator is trained with. `weights` is None until `set` is called."""

    def __init__(self, metric: Dists | None, adversarial: AdversarialLoss | None) -> None:
        self.metric, self.adversarial = metric, adversarial
        self.weights: dict[str, float] | None = None
        self.norms: dict[str, float] = {}

    def names(self) -> list[str]:
        """Terms that exist here: always pixel, fidelity with a metric, adversarial with a discriminator."""
        return ["pixel"] + ["fidelity"] * (self.metric is not None) + ["adversarial"] * (self.adversarial is not None)

    def function(self, name: str, augmented: bool = False) -> Term:
        """The term as a function of (restored, reference), both N3HW in [0, 1], to a scalar. To be measured the
        adversarial term is taken without augmentation, in which all images would share one draw; it is trained with."""
        if name == "pixel":
            return F.l1_loss
        if name == "fidelity" and self.metric is not None:
            metric = self.metric
            return lambda restored, reference: metric(restored, reference).mean()
        if name == "adversarial" and self.adversarial is not None:
            adversarial = self.adversarial
            return lambda restored, reference: adversarial(restored, reference, augmented)
        raise KeyError(name)

    def values(self, restored: Tensor, reference: Tensor) -> dict[str, Tensor]:
        """Each term with a weight other than 0, unweighted and as it is trained."""
        assert self.weights is not None
        trained = [name for name, weight in self.weights.items() if weight]
        return {name: self.function(name, augmented=True)(restored, reference) for name in trained}

    def total(self, values: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum."""
        assert self.weights is not None
        return torch.stack([self.weights[name] * value for name, value in values.items()]).sum()

    def set(self, wanted: Mapping[str, Weight], norms: Mapping[str, float]) -> None:
        """Fixes the weights; `norms` holds the gradient norm of each term and of `reference` if any is calibrated."""
        self.norms = dict(norms)
        self.weights = {name: effective_weight(weight, name, norms) for name, weight in wanted.items()}

    def numbers(self) -> dict[str, float]:
        """Effective weights and measured norms, for the record."""
        weights = {f"weight_{name}": value for name, value in (self.weights or {}).items()}
        return weights | {f"gradient_norm_{name}": value for name, value in self.norms.items()}

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint: weights, norms, discriminator and its optimizer. The metric is frozen."""
        adversarial = self.adversarial.state_dict() if self.adversarial is not None else None
        return {"weights": self.weights, "norms": self.norms, "adversarial": adversarial}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.weights, self.norms = state["weights"], state["norms"]
        if self.adversarial is not None:
            self.adversarial.load_state_dict(state["adversarial"])


def effective_weight(weight: Weight, name: str, norms: Mapping[str, float]) -> float:
    """A raw weight as it is; a calibrated one as times x norm of the reference / norm of the term. Raises ValueError
    for a term or a reference without gradient, which no weight can calibrate."""
    if not isinstance(weight, Calibrated):
        return float(weight)
    for measured in (name, "reference"):
        if not norms[measured] > 0:
            raise ValueError(
                f"the {measured} term has a gradient of norm {norms[measured]}: the weight of {name} cannot be "
                "calibrated; give a number"
            )
    return weight.times * norms["reference"] / norms[name]


def gradient_norm(term: Term, images: list[tuple[Tensor, Tensor]]) -> float:
    """Mean over images of the L2 norm of d term / d restored; `images` are pairs (restored, reference), each 13HW."""
    norms = []
    for restored, reference in images:
        output = restored.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(term(output, reference), output)
        norms.append(float(gradient.norm()))
    return sum(norms) / len(norms)
