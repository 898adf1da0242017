"""Super-resolution: trains SwinIR with a pixel loss, a fitted metric and a discriminator, or with the pixel loss alone.

    loss = w_pixel L1 + w_fidelity D + w_adversarial L_adv          (docs/study.md, section 4)

First the discriminator alone is trained for a few steps, then weights that are to be calibrated are measured, then both
networks are trained. The last moving average is evaluated and exported, never one chosen on a test set.

numbers: validation_psnr (dB, of the result), validation_psnr_start (of the warm-up), validation_psnr_bicubic,
validation_psnr_spread (dB, how far it strayed over the last checkpoints), weight_* (effective weights) and
gradient_norm_* (what they were calibrated by)

curves: validation_psnr of the moving average at `checkpoints`, and every term of the loss
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from orchestrator.spec import Calibrated, ReleasedWeights, SuperResolution, Weight
from workers.context import Context, Result
from workers.data.photographs import to_tensor, to_uint8
from workers.data.sr_pairs import Pair, SrBatches, evaluation_pairs, psnr, upscale_bicubic
from workers.losses.adversarial import AdversarialLoss
from workers.losses.calibration import Terms, gradient_norm
from workers.models.discriminators import Discriminator
from workers.models.swinir import SwinIR
from workers.training import Curves, Ema, Loop, all_finite, autocast, derive_seed, linear_decay
from workers.weights import (
    initial_backbone,
    load_generator,
    load_metric,
    load_official,
    save_backbone,
    save_generator,
)

CHECKPOINTS = 10
"""At how many steps of a training the validation PSNR is measured [ours]."""
STEPS_APART = 10
"""Of a short training they are fewer: these steps apart at least, so that they cost a few hundredths of its time."""
LAST_CHECKPOINTS = 5
"""Over these the spread is taken [ours]: the second half of a training, or as many as there are."""


def run(spec: SuperResolution, context: Context) -> Result:
    """Trains the generator; exports its moving average and the discriminator's backbone. A loss that is not finite, or
    a validation PSNR more than `divergence` dB below the warm-up's, ends the run as diverged."""
    training = spec.training
    generator = _generator(spec, context)
    pairs = evaluation_pairs(spec.validation, context.sources, spec.scale)
    numbers = {
        "validation_psnr_start": validation_psnr(generator, pairs, context.device),
        "validation_psnr_bicubic": float(np.mean([psnr(upscale_bicubic(p.low, spec.scale), p.high) for p in pairs])),
    }
    terms = _terms(spec, context)
    group = {"params": list(generator.parameters()), "initial_lr": training.learning_rate}
    optimizer = torch.optim.Adam([group], lr=training.learning_rate, betas=(0.9, 0.99), fused=True)
    ema = Ema(generator, training.ema)
    seed = derive_seed("super_resolution batches", spec.seed)
    batches = SrBatches(spec.train, context.sources, spec.scale, training.patch, training.batch, seed)
    parts: dict[str, Any] = {"generator": generator, "optimizer": optimizer, "ema": ema, "terms": terms}
    loop = Loop(context, training.discriminator_warmup + training.steps, parts)
    measured = {training.discriminator_warmup + steps for steps in checkpoints(training.steps)[:-1]}
    for step, pair in loop.batches(batches.batch):
        low, high = (images.to(context.device) for images in pair)
        precision = autocast(spec.numerics, context.device)
        if step < training.discriminator_warmup:
            values = discriminator_step(generator, terms, low, high, precision)
        else:
            if terms.weights is None:
                wanted, norms = _measure(spec, terms, generator, pairs, context)
                if not _finite(norms):
                    return loop.diverged(f"a gradient is not finite at step {step}: {norms}", numbers)
                terms.set(wanted, norms)
            if training.decay:
                linear_decay(optimizer, step - training.discriminator_warmup, training.steps)
            values = train_step(generator, optimizer, terms, low, high, precision)
            ema.update()
        loop.log(step, **values)
        if not _finite(values):
            return loop.diverged(f"a loss is not finite at step {step}: {values}", numbers)
        if step + 1 in measured:
            loop.curves.add(step, {"validation_psnr": averaged_psnr(generator, ema, pairs, context.device)})
    return _finish(spec, context, loop, generator, ema, terms, pairs, numbers)


def checkpoints(steps: int) -> list[int]:
    """After how many of its `steps` a training measures its validation PSNR: equally spaced, the last at its end."""
    count = max(1, min(CHECKPOINTS, steps // STEPS_APART))
    return [steps * i // count for i in range(1, count + 1)]


def discriminator_step(
    generator: SwinIR, terms: Terms, low: Tensor, high: Tensor, precision: torch.autocast
) -> dict[str, float]:
    """One step of the discriminator alone, before the adversarial weight is measured."""
    assert terms.adversarial is not None
    with torch.no_grad(), precision:
        fake = generator(low).float()
    return {"discriminator_loss": float(terms.adversarial.train_discriminator(fake, high))}


def train_step(
    generator: SwinIR,
    optimizer: torch.optim.Optimizer,
    terms: Terms,
    low: Tensor,
    high: Tensor,
    precision: torch.autocast,
) -> dict[str, float]:
    """One step of the generator and then one of the discriminator on the same images; returns each term unweighted.
    `precision` is that of the generator's forward pass; losses are float32."""
    with precision:
        fake = generator(low).float()
    values = terms.values(fake, high)
    loss = terms.total(values)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    logged = {name: float(value.detach()) for name, value in values.items()} | {"loss": float(loss.detach())}
    if terms.adversarial is not None:
        logged["discriminator_loss"] = float(terms.adversarial.train_discriminator(fake.detach(), high))
    return logged


@torch.no_grad()
def validation_psnr(generator: Callable[[Tensor], Tensor], pairs: Sequence[Pair], device: str) -> float:
    """Mean over images of the PSNR (dB, RGB, 8 bit) on the validation crops."""
    psnrs = [psnr(to_uint8(generator(to_tensor(pair.low)[None].to(device))[0]), pair.high) for pair in pairs]
    return float(np.mean(psnrs))


def averaged_psnr(generator: SwinIR, ema: Ema, pairs: Sequence[Pair], device: str) -> float:
    """`validation_psnr` of the moving average; `generator`, which is being trained, stays as it is."""
    return validation_psnr(partial(functional_call, generator, ema.shadow), pairs, device)


def spread(curves: Curves) -> dict[str, float]:
    """`validation_psnr_spread`: sample standard deviation (dB) over the last checkpoints; empty where there are fewer
    than two, or a PSNR is infinite."""
    last = [value for _, name, value in curves.points if name == "validation_psnr"][-LAST_CHECKPOINTS:]
    known = len(last) > 1 and all(map(math.isfinite, last))
    return {"validation_psnr_spread": statistics.stdev(last)} if known else {}


def _generator(spec: SuperResolution, context: Context) -> SwinIR:
    if isinstance(spec.start, ReleasedWeights):
        file = context.sources.weights_file(spec.start.content)
        return load_official(file, spec.generator, spec.scale).to(context.device)
    if spec.start is not None:
        return load_generator(context.parent("start")).to(context.device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("generator", spec.seed))
        return SwinIR(spec.scale, spec.generator).to(context.device)


def _terms(spec: SuperResolution, context: Context) -> Terms:
    metric = load_metric(context.parent("loss")).to(context.device) if spec.loss is not None else None
    return Terms(metric, _adversarial(spec, context) if spec.discriminator is not None else None)


def _adversarial(spec: SuperResolution, context: Context) -> AdversarialLoss:
    assert spec.discriminator is not None
    backbone = initial_backbone(spec.discriminator, context, "discriminator.weights")
    seed = derive_seed("discriminator head", spec.seed)
    discriminator = Discriminator(backbone, spec.discriminator.head, seed).to(context.device)
    seed = derive_seed("discriminator augmentation", spec.seed)
    return AdversarialLoss(discriminator, spec.discriminator, spec.training.learning_rate, seed)


def _measure(
    spec: SuperResolution, terms: Terms, generator: SwinIR, pairs: Sequence[Pair], context: Context
) -> tuple[dict[str, Weight], dict[str, float]]:
    """The weight that the spec wants for each term, and the gradient norms where any of them is `calibrated`."""
    wanted = {name: getattr(spec.weights, name) for name in ("pixel", "fidelity", "adversarial")}
    wanted = {name: weight for name, weight in wanted.items() if name in terms.names()}
    if not any(isinstance(weight, Calibrated) for weight in wanted.values()):
        return wanted, {}
    crops = [_central(pair, spec.training.patch, spec.scale) for pair in pairs]
    with torch.no_grad():
        outputs = [(generator(_batch(low, context)), _batch(high, context)) for low, high in crops]
    reference = load_metric(context.parent("reference_loss")).to(context.device)
    norms = {name: gradient_norm(terms.function(name), outputs) for name in wanted}
    norms["reference"] = gradient_norm(lambda fake, real: reference(fake, real).mean(), outputs)
    return wanted, norms


def _central(pair: Pair, patch: int, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """The middle of a pair, of the size that training sees (or all of it): Transformers' features depend on it."""
    height, width = (min(patch, side) for side in pair.low.shape[:2])
    top, left = (pair.low.shape[0] - height) // 2, (pair.low.shape[1] - width) // 2
    low = pair.low[top : top + height, left : left + width]
    high = pair.high[top * scale : (top + height) * scale, left * scale : (left + width) * scale]
    return low, high


def _finite(values: Mapping[str, float]) -> bool:
    return all(math.isfinite(value) for value in values.values())


def _batch(image: np.ndarray, context: Context) -> Tensor:
    return to_tensor(image)[None].to(context.device)


def _finish(
    spec: SuperResolution,
    context: Context,
    loop: Loop,
    generator: SwinIR,
    ema: Ema,
    terms: Terms,
    pairs: Sequence[Pair],
    numbers: dict[str, float],
) -> Result:
    judging = terms.adversarial.discriminator.state_dict() if terms.adversarial is not None else {}
    if not (all_finite(ema.shadow) and all_finite(judging)):
        return loop.diverged("weights are not finite after the last step", numbers)
    reached = averaged_psnr(generator, ema, pairs, context.device)
    if spec.training.steps:  # none where an official checkpoint is imported
        loop.curves.add(loop.steps - 1, {"validation_psnr": reached})
    numbers = {**numbers, **terms.numbers(), "validation_psnr": reached, **spread(loop.curves)}
    fall = numbers["validation_psnr_start"] - numbers["validation_psnr"]
    if spec.start is not None and not fall <= spec.training.divergence:
        return loop.diverged(f"validation PSNR fell {fall:.2f} dB below the warm-up's", numbers)
    loop.curves.write(context.out)
    save_generator(context.out, ema.shadow, spec.generator, spec.scale)
    if terms.adversarial is not None and spec.discriminator is not None:
        save_backbone(context.out, terms.adversarial.discriminator.backbone, spec.discriminator.backbone.model)
    return Result(numbers=numbers)
