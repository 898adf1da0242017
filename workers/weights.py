"""Weights on disk: safetensors that say what they are weights of, so that a child can build the model of its parent.

Everything is loaded with strict=True: weights of another architecture are an error, never a silent part.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from orchestrator import spec
from workers.losses.dists import Dists, with_l2_pooling
from workers.models import backbones
from workers.models.iqa import IqaModel
from workers.models.swinir import SwinIR


def export(path: Path, state: Mapping[str, torch.Tensor], **about: Any) -> None:
    """Writes weights as safetensors; `about` (JSON) says what a child needs to build the model, e.g. its backbone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    save_file(tensors, path, metadata={name: json.dumps(value) for name, value in sorted(about.items())})


def read_weights(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """(tensors, about) of a file that `export` wrote. Raises ValueError naming the file when it cannot be read."""
    try:
        with safe_open(path, framework="pt") as file:
            about = {name: json.loads(value) for name, value in (file.metadata() or {}).items()}
            return {name: file.get_tensor(name) for name in sorted(file.keys())}, about
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such weights; the parent trial has not finished") from None
    except Exception as error:  # safetensors has its own exception type for damage
        raise ValueError(
            f"{path}: not readable as safetensors ({error}); remove its trial's folder and run again"
        ) from error


def save_backbone(folder: Path, backbone: backbones.Backbone, model: str) -> None:
    """Writes a trial's `backbone.safetensors`: what a loss, a discriminator or an IQA model can start from."""
    export(folder / "weights" / "backbone.safetensors", backbone.state_dict(), backbone=model)


def load_backbone(folder: Path) -> backbones.Backbone:
    """The backbone of a trial: pretext, or the discriminator's of a super-resolution trial."""
    tensors, about = read_weights(folder / "weights" / "backbone.safetensors")
    backbone = backbones.build(about["backbone"], seed=0)
    backbone.load_state_dict(tensors, strict=True)
    return backbone


def save_generator(folder: Path, state: Mapping[str, torch.Tensor], settings: spec.SwinIR, scale: int) -> None:
    """Writes a super-resolution trial's `generator.safetensors`, in the official layout of SwinIR."""
    about = {name: getattr(settings, name) for name in spec.field_names(spec.SwinIR)}
    export(folder / "weights" / "generator.safetensors", state, scale=scale, generator=about)


def load_generator(folder: Path) -> SwinIR:
    """The generator of a super-resolution trial."""
    tensors, about = read_weights(folder / "weights" / "generator.safetensors")
    settings: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in about["generator"].items()}
    generator = SwinIR(about["scale"], spec.SwinIR(**settings))
    generator.load_state_dict(tensors, strict=True)
    return generator


def save_metric(folder: Path, metric: Dists, model: str) -> None:
    """Writes a fitted metric's `metric.safetensors`: alpha, beta and the frozen backbone."""
    export(folder / "weights" / "metric.safetensors", metric.state_dict(), backbone=model)


def load_metric(folder: Path) -> Dists:
    """The metric of an fr_iqa trial."""
    tensors, about = read_weights(folder / "weights" / "metric.safetensors")
    backbone = with_l2_pooling(backbones.build(about["backbone"], seed=0))
    metric = Dists(backbone, tensors["alpha"], tensors["beta"])
    metric.load_state_dict(tensors, strict=True)
    return metric


def save_iqa_model(folder: Path, state: Mapping[str, torch.Tensor], model: str, task: spec.Task) -> None:
    """Writes an IQA model's `iqa.safetensors`."""
    export(folder / "weights" / "iqa.safetensors", state, backbone=model, task=task)


def load_iqa_model(folder: Path) -> IqaModel:
    """The model of an iqa_transfer trial."""
    tensors, about = read_weights(folder / "weights" / "iqa.safetensors")
    model = IqaModel(backbones.build(about["backbone"], seed=0), about["task"], initial_score=0.0, seed=0)
    model.load_state_dict(tensors, strict=True)
    return model
