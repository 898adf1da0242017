"""Our SwinIR equals the official architecture (as spandrel ships it), forward and backward, with its weights."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from spandrel.architectures.SwinIR import SwinIR as OfficialSwinIR
from torch import Tensor, nn

from orchestrator import spec
from workers.models.swinir import SwinIR
from workers.weights import UnusableWeights, load_official

SMALL = spec.SwinIR(channels=24, depths=(2, 2), heads=(2, 3), window=4, mlp_ratio=2.0, upsampler="pixelshuffledirect")
LIGHT = replace(SMALL, channels=60, depths=(6,) * 4, heads=(6,) * 4, window=8)
MEDIUM = replace(SMALL, channels=180, depths=(6,) * 6, heads=(6,) * 6, window=8, upsampler="pixelshuffle")
LARGE = replace(
    SMALL, channels=240, depths=(6,) * 9, heads=(8,) * 9, window=8, upsampler="nearest+conv", residual="3conv"
)
MASK = "layers.0.residual_group.blocks.1.attn_mask"
INDEX = "layers.0.residual_group.blocks.0.attn.relative_position_index"

# torch.meshgrid without `indexing`, in spandrel's code
pytestmark = pytest.mark.filterwarnings("ignore:torch.meshgrid")


def official(scale: int, settings: spec.SwinIR, image_size: int = 64) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = OfficialSwinIR(
            img_size=image_size,
            embed_dim=settings.channels,
            depths=list(settings.depths),
            num_heads=list(settings.heads),
            window_size=settings.window,
            mlp_ratio=settings.mlp_ratio,
            upscale=scale,
            upsampler=settings.upsampler,
            resi_connection=settings.residual,
            drop_path_rate=0.0,
        )
        for parameter in model.parameters():  # biases and norms start at 0 and 1, where an error could hide
            parameter.data += 0.05 * torch.randn_like(parameter)
    return model


def ours(scale: int, settings: spec.SwinIR) -> SwinIR:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return SwinIR(scale, settings)


def image(height: int, width: int) -> Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(2))


def forward_and_backward(model: nn.Module, shape: tuple[int, int], dtype: torch.dtype) -> dict[str, Tensor]:
    """The output and the gradient of its mean square by the input and by every parameter."""
    low = image(*shape)[:1].to(dtype).requires_grad_()
    output = model.to(dtype)(low)
    output.square().mean().backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return {"output": output.detach(), "input": low.grad, **gradients}  # type: ignore[dict-item]


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("settings", [LIGHT, MEDIUM, LARGE], ids=["light", "medium", "large"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_official_sizes_equal_the_official_models(settings: spec.SwinIR, dtype: torch.dtype) -> None:
    theirs, mine = official(4, settings, image_size=2 * settings.window), ours(4, settings)
    mine.load_state_dict(theirs.state_dict(), strict=True)
    theirs.load_state_dict(mine.state_dict(), strict=True)
    expected, found = (forward_and_backward(model, (9, 13), dtype) for model in (theirs, mine))
    assert found.keys() == expected.keys()
    assert found["output"].shape == (1, 3, 36, 52)
    errors = {name: relative_error(found[name], expected[name]) for name in expected}
    assert errors.pop("output") < (1e-5 if dtype == torch.float32 else 1e-12)
    # In float32 rounding turns a leaky ReLU of the large model around, and a gradient with it; in float64 none.
    bound = 1e-12 if dtype == torch.float64 else 1e-3 if settings is LARGE else 1e-5
    assert max(errors.values()) < bound


@pytest.mark.parametrize(
    ("upsampler", "scales"),
    [("pixelshuffle", (2, 3, 4)), ("pixelshuffledirect", (2, 3, 4)), ("nearest+conv", (2, 4))],
)
@pytest.mark.parametrize("residual", ["1conv", "3conv"])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (13, 18), (7, 23)])
def test_equals_the_official_model(
    upsampler: Any, scales: tuple[int, ...], residual: Any, height: int, width: int
) -> None:
    settings = replace(SMALL, upsampler=upsampler, residual=residual)
    for scale in scales:
        theirs, mine = official(scale, settings), ours(scale, settings)
        mine.load_state_dict(theirs.state_dict(), strict=True)
        expected, found = (forward_and_backward(m, (height, width), torch.float64) for m in (theirs, mine))
        assert found["output"].shape == (1, 3, scale * height, scale * width)
        for name in expected:
            assert relative_error(found[name], expected[name]) < 1e-12, name


def test_layout_is_the_official_one() -> None:
    theirs, mine = official(4, SMALL, image_size=2 * SMALL.window).state_dict(), ours(4, SMALL).state_dict()
    assert {key: value.shape for key, value in mine.items()} == {key: value.shape for key, value in theirs.items()}
    for key in mine:
        if key.endswith(("attn_mask", "relative_position_index")):
            assert torch.equal(mine[key], theirs[key]), key


@pytest.mark.parametrize("image_size", [48, 64])
def test_loads_weights_of_any_training_size_and_keeps_its_own_masks(image_size: int) -> None:
    model = ours(4, SMALL)
    mask = model.state_dict()[MASK].clone()
    model.load_state_dict(official(4, SMALL, image_size).state_dict(), strict=True)
    assert torch.equal(model.state_dict()[MASK], mask)


@pytest.mark.parametrize("key", [MASK, INDEX])
def test_constants_of_another_window_are_refused(key: str) -> None:
    state = official(4, SMALL).state_dict()
    spoilt = {**state, key: state[key].flip(-1)}
    with pytest.raises(RuntimeError, match=f"{key}: found other values, of shape .* than those of this window"):
        ours(4, SMALL).load_state_dict(spoilt, strict=True)


def test_a_state_dict_with_a_missing_mask_or_weight_is_refused() -> None:
    state = ours(4, SMALL).state_dict()
    for key in (MASK, INDEX, "conv_first.weight"):
        with pytest.raises(RuntimeError, match=key):
            ours(4, SMALL).load_state_dict({k: v for k, v in state.items() if k != key}, strict=True)


def test_images_smaller_than_a_window_are_mirrored() -> None:
    restored = ours(4, replace(SMALL, window=8))(image(3, 1))
    assert restored.shape == (2, 3, 12, 4)
    assert restored.isfinite().all()


def test_shifted_attention_does_not_cross_the_border() -> None:
    # With one window of look-around a token at one edge of the image must not see the opposite edge.
    block = ours(4, SMALL).layers[0].residual_group["blocks"][1]  # type: ignore[index]
    tokens = torch.rand(1, 12, 12, 24, generator=torch.Generator().manual_seed(3), requires_grad=True)
    block(tokens)[0, 0].square().sum().backward()
    assert tokens.grad is not None
    assert tokens.grad[0, :2].abs().sum() > 0
    assert tokens.grad[0, 2:].abs().max() == 0


@pytest.mark.parametrize(
    ("scale", "changes", "message"),
    [
        (5, {}, "scale: found 5; allowed: 3 and the powers of two"),
        (3, {"upsampler": "nearest+conv"}, "scale: found 3; allowed with the upsampler nearest.conv"),
        (4, {"heads": (2,)}, "heads: found 1 entries; depths has 2"),
        (4, {"heads": (2, 5)}, "heads: found 5; each must divide the 24 channels"),
    ],
)
def test_settings_that_do_not_fit_are_refused(scale: int, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SwinIR(scale, replace(SMALL, **changes))


@pytest.mark.parametrize("entry", ["params", "params_ema"])
def test_official_files_load(entry: str, tmp_path: Path) -> None:
    theirs = official(4, SMALL, image_size=48)
    # Of two sets of weights the average is the one that was published with results.
    torch.save({"params": ours(4, SMALL).state_dict(), entry: theirs.state_dict()}, tmp_path / "model.pth")
    mine = load_official(tmp_path / "model.pth", SMALL, 4)
    with torch.no_grad():
        assert relative_error(mine(image(9, 5)), theirs(image(9, 5))) < 1e-5


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def a_web_page(file: Path) -> None:
    file.write_text("<!DOCTYPE html><html>not found</html>")


def code(file: Path) -> None:
    file.write_bytes(pickle.dumps({"params": Path}, protocol=2))


def without_entry(file: Path) -> None:
    torch.save(ours(4, SMALL).state_dict(), file)


def another_size(file: Path) -> None:
    torch.save({"params": official(4, replace(SMALL, channels=36)).state_dict()}, file)


def another_upsampler(file: Path) -> None:
    torch.save({"params": official(4, replace(SMALL, upsampler="nearest+conv")).state_dict()}, file)


def another_window(file: Path) -> None:
    torch.save({"params": official(4, replace(SMALL, window=8)).state_dict()}, file)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (truncated, r"failed finding central directory|invalid header or archive"),
        (emptied, "EOFError|Ran out of input"),
        (a_web_page, "Weights only load failed"),
        (code, "Weights only load failed"),
        (Path.unlink, "no such file"),
        (without_entry, "found conv_first.weight, .*; an official checkpoint holds params or params_ema"),
        (another_size, r"size mismatch .*\[36, 3, 3, 3\]"),
        (another_upsampler, "Missing key.*upsample"),
        (another_window, "found other values, of shape .* than those of this window"),
    ],
)
def test_other_files_are_refused_by_name(spoil: Callable[[Path], object], why: str, tmp_path: Path) -> None:
    file = tmp_path / "model.pth"
    torch.save({"params": official(4, SMALL).state_dict()}, file)
    spoil(file)
    with pytest.raises(UnusableWeights, match=why) as refusal:
        load_official(file, SMALL, 4)
    text = str(refusal.value)
    assert text.startswith(f"{file}: ")
    assert "the x4 generator SwinIR(channels=24" in text
    assert "\n" not in text


@pytest.mark.parametrize("channels", [24, 64])  # attention in blocks, and plain
def test_training_follows_restoring_in_one_process(channels: int) -> None:
    # What is kept of one pass (kinds of windows) must serve the next one, whatever mode the first one ran in.
    model = ours(4, replace(SMALL, channels=channels, heads=(2, 4)))
    with torch.inference_mode():
        restored = model(image(11, 9))
    trained = model(image(11, 9))
    assert torch.equal(restored, trained)
    trained.square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
