"""Our SwinIR equals the official architecture (as spandrel ships it), forward and backward, with its weights."""

from dataclasses import replace

import pytest
import torch
from spandrel.architectures.SwinIR import SwinIR as OfficialSwinIR
from torch import Tensor, nn

from orchestrator import spec
from workers.models.swinir import SwinIR

SMALL = spec.SwinIR(channels=24, depths=(2, 2), heads=(2, 3), window=4, mlp_ratio=2.0, upsampler="pixelshuffledirect")


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
            resi_connection="1conv",
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


@pytest.mark.parametrize("upsampler", ["pixelshuffle", "pixelshuffledirect"])
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (13, 18), (7, 23)])
def test_equals_the_official_model(upsampler: str, scale: int, height: int, width: int) -> None:
    settings = replace(SMALL, upsampler=upsampler)  # type: ignore[arg-type]
    theirs, mine = official(scale, settings), ours(scale, settings)
    mine.load_state_dict(theirs.state_dict(), strict=True)
    outputs = [model(image(height, width)) for model in (theirs, mine)]
    assert outputs[1].shape == (2, 3, scale * height, scale * width)
    torch.testing.assert_close(outputs[1], outputs[0], atol=1e-5, rtol=0)
    for output in outputs:
        output.square().mean().backward()
    gradients = dict(mine.named_parameters())
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(gradients[name].grad, parameter.grad, atol=1e-5, rtol=1e-4, msg=name)


def test_layout_is_the_official_one() -> None:
    theirs, mine = official(4, SMALL, image_size=2 * SMALL.window).state_dict(), ours(4, SMALL).state_dict()
    assert {key: value.shape for key, value in mine.items()} == {key: value.shape for key, value in theirs.items()}
    for key in mine:
        if key.endswith(("attn_mask", "relative_position_index")):
            assert torch.equal(mine[key], theirs[key]), key


@pytest.mark.parametrize("image_size", [48, 64])
def test_loads_weights_of_any_training_size_and_keeps_its_own_masks(image_size: int) -> None:
    model = ours(4, SMALL)
    mask = model.state_dict()["layers.0.residual_group.blocks.1.attn_mask"].clone()
    model.load_state_dict(official(4, SMALL, image_size).state_dict(), strict=True)
    assert torch.equal(model.state_dict()["layers.0.residual_group.blocks.1.attn_mask"], mask)


def test_a_state_dict_with_a_missing_mask_or_weight_is_refused() -> None:
    state = ours(4, SMALL).state_dict()
    for key in ("layers.0.residual_group.blocks.1.attn_mask", "conv_first.weight"):
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
        (4, {"heads": (2,)}, "heads: found 1 entries; depths has 2"),
        (4, {"heads": (2, 5)}, "heads: found 5; each must divide the 24 channels"),
    ],
)
def test_settings_that_do_not_fit_are_refused(scale: int, changes: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SwinIR(scale, replace(SMALL, **changes))  # type: ignore[arg-type]
