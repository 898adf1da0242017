"""The vanilla GAN loss (Goodfellow et al., arXiv 1406.2661), non-saturating for the generator.

`AdversarialLoss` owns the discriminator and its optimizer, so that a recipe sees two calls: `train_discriminator` and
the loss of the generator's output. Interface after AudioCraft's class of the same name.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from workers.models.discriminators import Discriminator

BETAS = (0.9, 0.99)  # Adam's, as in BasicSR's and SwinIR's GAN trainings


class AdversarialLoss:
    """A discriminator, the Adam that trains it at `learning_rate`, and the loss that it gives to a generator."""

    def __init__(self, discriminator: Discriminator, learning_rate: float) -> None:
        self.discriminator = discriminator
        self.optimizer = torch.optim.Adam(discriminator.parameters(), lr=learning_rate, betas=BETAS)

    def train_discriminator(self, fake: Tensor, real: Tensor) -> Tensor:
        """One optimizer step on restored `fake` and high-resolution `real`, N3HW in [0, 1]. No gradient reaches `fake`.
        Returns the loss before the step, a detached scalar: 2 log 2 where the discriminator knows nothing."""
        self.discriminator.train()
        logits, _ = self.discriminator(torch.cat((fake.detach(), real)))
        on_fake, on_real = zip(*(level.split((len(fake), len(real))) for level in logits), strict=True)
        loss = _cross_entropy(on_fake, target=0.0) + _cross_entropy(on_real, target=1.0)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def forward(self, fake: Tensor) -> Tensor:
        """Generator's loss of `fake` (N3HW in [0, 1]), a scalar: low where the discriminator takes it for real.
        Gradient reaches `fake` alone, and nothing of the discriminator changes, its power iteration included."""
        with _frozen(self.discriminator):
            logits, _ = self.discriminator(fake)
        return _cross_entropy(logits, target=1.0)

    __call__ = forward

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed training needs to go on bit by bit."""
        return {"discriminator": self.discriminator.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes what `state_dict` gave. Raises RuntimeError for another architecture, KeyError for another dict."""
        self.discriminator.load_state_dict(state["discriminator"], strict=True)
        self.optimizer.load_state_dict(state["optimizer"])


def _cross_entropy(logits: list[Tensor] | tuple[Tensor, ...], target: float) -> Tensor:
    """Mean binary cross entropy over positions, then over levels."""
    losses = [F.binary_cross_entropy_with_logits(level, torch.full_like(level, target)) for level in logits]
    return torch.stack(losses).mean()


@contextmanager
def _frozen(discriminator: Discriminator) -> Iterator[None]:
    """Within it, graphs are recorded without the discriminator's parameters, and in evaluation mode."""
    training = discriminator.training
    trainable = [parameter for parameter in discriminator.parameters() if parameter.requires_grad]
    discriminator.eval()
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
        discriminator.train(training)
