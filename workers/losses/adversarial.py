"""The adversarial loss: a discriminator, the optimizer that trains it, and the loss that it gives to a generator.

A recipe sees two calls: `train_discriminator` and the loss of the generator's output. Interface after AudioCraft's
class of the same name. The formulas are in gan.py, differentiable augmentation is in augmentation.py.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from orchestrator import spec
from workers.losses.augmentation import augment
from workers.losses.gan import discriminator_loss, generator_loss, r1_penalty
from workers.models.discriminators import Discriminator
from workers.training import derive_seed

BETAS = (0.9, 0.99)  # Adam's, as in BasicSR's and SwinIR's GAN trainings


class AdversarialLoss:
    """The GAN game of one discriminator.

    Args:
        discriminator: is owned from here on; where `settings.backbone_factor` is 0 its backbone gets frozen.
        settings: GAN loss, learning rate factor of the backbone, R1 weight and augmentation.
        learning_rate: Adam's, of the head.
        seed: of the augmentation, whose draws are a function of it and the number of steps so far.
    """

    def __init__(
        self, discriminator: Discriminator, settings: spec.Discriminator, learning_rate: float, seed: int
    ) -> None:
        self.discriminator, self.settings, self.seed = discriminator, settings, seed
        self.step = 0
        discriminator.backbone.requires_grad_(settings.backbone_factor > 0)
        head = {"params": list(discriminator.head.parameters()), "lr": learning_rate}
        rate = learning_rate * settings.backbone_factor
        backbone = {"params": list(discriminator.backbone.parameters()), "lr": rate}
        self.optimizer = torch.optim.Adam([head, backbone], betas=BETAS)

    def train_discriminator(self, fake: Tensor, real: Tensor) -> Tensor:
        """One optimizer step on restored `fake` and high-resolution `real`, N3HW in [0, 1]. No gradient reaches either.
        Returns the loss before the step, its penalty included: a detached scalar."""
        penalized = self.settings.r1 > 0
        real = real.detach().requires_grad_(penalized)
        images = torch.cat((self._augment(fake.detach(), "fake"), self._augment(real, "real")))
        self.discriminator.train()
        with _twice_differentiable() if penalized else nullcontext():
            logits, _ = self.discriminator(images)
        levels = [level.split((len(fake), len(real))) for level in logits]
        loss = torch.stack([discriminator_loss(self.settings.loss, *level) for level in levels]).mean()
        if penalized:
            loss = loss + self.settings.r1 * r1_penalty([on_real for _, on_real in levels], real)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.step += 1
        return loss.detach()

    def forward(self, fake: Tensor, real: Tensor, augmented: bool = True) -> Tensor:
        """Generator's loss of `fake` beside the images it was to become, N3HW in [0, 1]: a scalar, low where the
        discriminator takes `fake` for real. Only a relativistic loss looks at `real`. `augmented` False shows both as
        they are. Gradient reaches `fake` alone, and nothing of the discriminator changes, its power iteration
        included."""
        if augmented:
            fake = self._augment(fake, "generator's fake")
        with _frozen(self.discriminator):
            on_fake, _ = self.discriminator(fake)
            on_real = self._judge(real, augmented) if self.settings.loss == "relativistic" else [None] * len(on_fake)
        kind = self.settings.loss
        return torch.stack([generator_loss(kind, *level) for level in zip(on_fake, on_real, strict=True)]).mean()

    __call__ = forward

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed training needs to go on bit by bit."""
        return {
            "discriminator": self.discriminator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes what `state_dict` gave. Raises RuntimeError for another architecture, KeyError for another dict."""
        self.discriminator.load_state_dict(state["discriminator"], strict=True)
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]

    @torch.no_grad()
    def _judge(self, real: Tensor, augmented: bool) -> list[Tensor]:
        logits: list[Tensor] = self.discriminator(self._augment(real, "generator's real") if augmented else real)[0]
        return logits

    def _augment(self, images: Tensor, whose: str) -> Tensor:
        generator = torch.Generator().manual_seed(derive_seed("augmentation", self.seed, self.step, whose))
        return augment(images, self.settings.augment, generator)


def _twice_differentiable() -> AbstractContextManager[None]:
    """Within it attention is computed in plain products: the fused kernels have no second derivative."""
    return sdpa_kernel(SDPBackend.MATH)


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
