"""Weights on disk: safetensors that say what they are weights of, so that a child can build the model of its parent.

Everything is loaded with strict=True: weights of another architecture are an error, never a silent part.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from orchestrator import spec
from orchestrator.spec import RandomWeights, ReleasedWeights
from workers.context import Context
from workers.losses.dists import Dists, with_l2_pooling
from workers.models import backbones
from workers.models.iqa import Features, Head, IqaModel
from workers.models.released import UnusableWeights as UnusableWeights
from workers.models.released import reading
from workers.models.swinir import SwinIR
from workers.training import derive_seed


def export(path: Path, state: Mapping[str, torch.Tensor], **about: Any) -> None:
    """Writes weights as safetensors; `about` (JSON) says what a child needs to build the model, e.g. its backbone.
    OSError where the disk does not take them."""
    # One metadata entry: safetensors writes several in a random order, and equal weights must be equal bytes.
    metadata = {"about": json.dumps(about, sort_keys=True)}
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    try:
        save_file(tensors, path, metadata=metadata)
    except SafetensorError as error:  # of a full disk it only tells in words
        if found := re.search(r"\(os error (\d+)\)", str(error)):
            raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from None
        raise


def read_weights(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """(tensors, about) of a file that `export` wrote. Raises UnusableWeights when it cannot be read."""
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("about", "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118 - not a dict
    except FileNotFoundError:
        raise UnusableWeights(f"{path}: no such weights; its trial has not finished: run it first") from None
    except Exception as error:  # safetensors has its own exception type for damage
        raise UnusableWeights(
            f"{path}: not readable as safetensors ({error}); remove its trial's folder and run again"
        ) from error


@contextmanager
def _opened(path: Path) -> Iterator[tuple[dict[str, torch.Tensor], dict[str, Any]]]:
    """(tensors, about) to build a model from; whatever does not fit meanwhile is raised as UnusableWeights."""
    tensors, about = read_weights(path)
    try:
        yield tensors, about
    except (KeyError, TypeError, ValueError, RuntimeError) as error:  # load_state_dict raises RuntimeError
        why = " ".join(str(error).split())[:300]
        raise UnusableWeights(
            f"{path}: not the weights of {about or 'a known model'} ({why}); remove its trial's folder and run again"
        ) from error


def save_backbone(folder: Path, backbone: backbones.Backbone, model: str) -> None:
    """Writes a trial's `backbone.safetensors`: what a loss, a discriminator or an IQA model can start from."""
    export(folder / "weights" / "backbone.safetensors", backbone.state_dict(), backbone=model)


def load_backbone(folder: Path) -> backbones.Backbone:
    """The backbone of a trial: pretext, or the discriminator's of a super-resolution trial."""
    with _opened(folder / "weights" / "backbone.safetensors") as (tensors, about):
        backbone = backbones.build(about["backbone"], seed=0)
        backbone.load_state_dict(tensors, strict=True)
        return backbone


def initial_backbone(spec: Any, context: Context, role: str) -> backbones.Backbone:
    """The backbone that a spec's `weights` start: drawn, of a released file, or of the parent in `role`."""
    if isinstance(spec.weights, RandomWeights):
        drawn = backbones.build(spec.backbone.model, derive_seed(spec.weights.purpose, spec.weights.seed))
        return backbones.awaken(drawn) if spec.weights.purpose == "loss" else drawn
    if isinstance(spec.weights, ReleasedWeights):
        return backbones.load_released(spec.backbone.model, context.sources.weights_file(spec.weights.content))
    return load_backbone(context.parent(role))


def save_generator(folder: Path, state: Mapping[str, torch.Tensor], settings: spec.SwinIR, scale: int) -> None:
    """Writes a super-resolution trial's `generator.safetensors`, in the official layout of SwinIR."""
    about = {name: getattr(settings, name) for name in spec.field_names(spec.SwinIR)}
    export(folder / "weights" / "generator.safetensors", state, scale=scale, generator=about)


def load_generator(folder: Path) -> SwinIR:
    """The generator of a super-resolution trial."""
    with _opened(folder / "weights" / "generator.safetensors") as (tensors, about):
        settings: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in about["generator"].items()}
        generator = SwinIR(about["scale"], spec.SwinIR(**settings))
        generator.load_state_dict(tensors, strict=True)
        return generator


def generator_sizes(settings: str) -> tuple[spec.SwinIR, int]:
    """(sizes, scale) of a generator from JSON."""
    found: dict[str, Any] = json.loads(settings)
    scale = int(found.pop("scale"))
    sizes: dict[str, Any] = {name: tuple(size) if isinstance(size, list) else size for name, size in found.items()}
    return spec.SwinIR(**sizes), scale


def load_official(path: Path, settings: spec.SwinIR, scale: int) -> SwinIR:
    """The generator of a checkpoint in the official layout: {"params": state} or {"params_ema": state}, of which the
    average is taken where there are both. Raises UnusableWeights for a file that cannot be read, and for a model that
    is not of these settings."""
    generator = SwinIR(scale, settings)
    with reading(path, f"the x{scale} generator {settings}"):
        found = torch.load(path, weights_only=True, map_location="cpu")
        state = found.get("params_ema", found.get("params")) if isinstance(found, dict) else None
        if not isinstance(state, dict):
            entries = ", ".join(map(str, list(found)[:3])) if isinstance(found, dict) else f"a {type(found).__name__}"
            raise ValueError(f"found {entries}; an official checkpoint holds params or params_ema")
        generator.load_state_dict(state, strict=True)
    return generator


def save_metric(folder: Path, metric: Dists, model: str) -> None:
    """Writes a fitted metric's `metric.safetensors`: alpha, beta and the frozen backbone."""
    export(folder / "weights" / "metric.safetensors", metric.state_dict(), backbone=model)


def load_metric(folder: Path) -> Dists:
    """The metric of an fr_iqa trial."""
    with _opened(folder / "weights" / "metric.safetensors") as (tensors, about):
        backbone = with_l2_pooling(backbones.build(about["backbone"], seed=0))
        metric = Dists(backbone, tensors["alpha"], tensors["beta"])
        metric.load_state_dict(tensors, strict=True)
        return metric


def save_iqa_model(
    folder: Path,
    state: Mapping[str, torch.Tensor],
    model: str,
    task: spec.Task,
    features: Features = "moments",
    head: Head = "mlp",
) -> None:
    """Writes an IQA model's `iqa.safetensors`."""
    about = {"backbone": model, "task": task, "features": features, "head": head}
    export(folder / "weights" / "iqa.safetensors", state, **about)


def load_iqa_model(folder: Path) -> IqaModel:
    """The model of an iqa_transfer trial."""
    with _opened(folder / "weights" / "iqa.safetensors") as (tensors, about):
        backbone = backbones.build(about["backbone"], seed=0)
        model = IqaModel(backbone, about["task"], 0.0, seed=0, features=about["features"], head=about["head"])
        model.load_state_dict(tensors, strict=True)
        return model
