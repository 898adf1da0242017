"""GAN losses on logits, and the R1 penalty: pure functions.

`fake` and `real` are logits of restored and of high-resolution images, of any shape: (N, 1) of a vanilla head,
(N, 1, h, w) of a patch head. Means run over images and locations alike, and everything is computed in float32.
"""

from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from orchestrator import spec


def discriminator_loss(kind: spec.GanLoss, fake: Tensor, real: Tensor) -> Tensor:
    """What a discriminator minimises, a scalar; logits of zero cost 2 log 2 (vanilla, relativistic) or 2 (hinge).

    vanilla:      -log(1 - s(fake)) - log s(real)                              arXiv 1406.2661, s is the sigmoid
    hinge:        relu(1 + fake) + relu(1 - real)                              arXiv 1705.02894, section 3
    relativistic: -log s(real - mean fake) - log(1 - s(fake - mean real))      arXiv 1807.00734, as in ESRGAN

    Raises ValueError for another kind.
    """
    fake, real = fake.float(), real.float()
    match kind:
        case "vanilla":
            return _cross_entropy(fake, 0.0) + _cross_entropy(real, 1.0)
        case "hinge":
            return F.relu(1 + fake).mean() + F.relu(1 - real).mean()
        case "relativistic":
            return _cross_entropy(real - fake.mean(), 1.0) + _cross_entropy(fake - real.mean(), 0.0)
    raise spec.unknown("loss", kind, get_args(spec.GanLoss))


def generator_loss(kind: spec.GanLoss, fake: Tensor, real: Tensor | None = None) -> Tensor:
    """What a generator minimises, a scalar; only relativistic looks at `real`.

    vanilla:      -log s(fake), the non-saturating form                        arXiv 1406.2661, section 3
    hinge:        -fake                                                        arXiv 1705.02894, section 3
    relativistic: (-log s(fake - mean real) - log(1 - s(real - mean fake))) / 2, halved as in ESRGAN's training, so
                  that logits of zero cost log 2 and pull as hard as under vanilla

    Raises ValueError for another kind.
    """
    fake = fake.float()
    match kind:
        case "vanilla":
            return _cross_entropy(fake, 1.0)
        case "hinge":
            return -fake.mean()
        case "relativistic":
            assert real is not None
            real = real.float()
            return (_cross_entropy(fake - real.mean(), 1.0) + _cross_entropy(real - fake.mean(), 0.0)) / 2
    raise spec.unknown("loss", kind, get_args(spec.GanLoss))


def r1_penalty(logits: list[Tensor], images: Tensor) -> Tensor:
    """E |grad_x D(x)|^2 / 2 over real `images` x (N3HW) of which `logits` were computed: R1 at weight 1 (arXiv
    1801.04406, eq. 9). D(x) is the mean logit of an image [ours for patch heads], so that the penalty weighs the same
    whatever the number of locations. The graph is kept: the penalty can be differentiated by the weights."""
    total = torch.stack([level.float().flatten(1).mean(1).sum() for level in logits]).mean()
    (gradient,) = torch.autograd.grad(total, images, create_graph=True)
    return gradient.float().square().flatten(1).sum(1).mean() / 2


def _cross_entropy(logits: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))
