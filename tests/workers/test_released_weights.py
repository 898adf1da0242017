"""Weights files in the formats in which timm and open_clip release them: loaded whole, or refused with a reason."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import open_clip
import pytest
import timm
import torch
from open_clip import factory
from safetensors.torch import save_file
from torch import Tensor, nn

from workers.models.backbones import Backbone, UnusableWeights, build, load_released
from workers.weights import save_backbone

TEXT = {"context_length": 8, "vocab_size": 32, "width": 16, "heads": 2, "layers": 1}
VIT = {"image_size": 64, "layers": 3, "width": 32, "head_width": 16, "patch_size": 16}
TINY_CLIPS: dict[str, dict[str, Any]] = {
    "tiny-vit": {"embed_dim": 16, "quick_gelu": True, "vision_cfg": VIT, "text_cfg": TEXT},
    "tiny-vit-apart": {"embed_dim": 16, "quick_gelu": True, "custom_text": True, "vision_cfg": VIT, "text_cfg": TEXT},
    "tiny-resnet": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 64},
        "text_cfg": TEXT,
    },
    "tiny-trunk": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 160, "timm_model_name": "test_vit", "timm_pool": "token", "timm_proj": "linear"},
        "text_cfg": TEXT,
    },
    "tiny-hub-text": {"embed_dim": 16, "vision_cfg": VIT, "text_cfg": {"hf_model_name": "some/text-tower"}},
}


@pytest.fixture(scope="module", autouse=True)
def tiny_clips(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """CLIP models of a few thousand parameters, known to open_clip by name during this module."""
    folder = tmp_path_factory.mktemp("configs")
    for name, config in TINY_CLIPS.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    yield
    factory._MODEL_CONFIG_PATHS.remove(folder)
    for name in TINY_CLIPS:
        del factory._MODEL_CONFIGS[name]


def image(side: int) -> Tensor:
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))


def write(file: Path, state: dict[str, Tensor]) -> Path:
    tensors = {name: tensor.contiguous() for name, tensor in state.items()}
    if file.suffix == ".safetensors":
        save_file(tensors, file)
    else:
        torch.save(tensors, file)
    return file


def native_timm(name: str) -> nn.Module:
    """timm's own model, classifier included, with every tensor off its initial value."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        network: nn.Module = timm.create_model(name).eval()
        for parameter in network.parameters():
            parameter.data += 0.01 * torch.randn(parameter.shape)
    return network


def native_clip(name: str) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        clip = open_clip.create_model(name)
        for parameter in clip.parameters():
            parameter.data += 0.01 * torch.randn(parameter.shape)
    return clip.eval()


def normalised(backbone: Backbone, pixels: Tensor) -> Tensor:
    return (pixels - backbone.mean) / backbone.std


def hands_over(model: str, loaded: Backbone) -> bool:
    """Whether its weights fit a model that is built at random, as a child trial does."""
    fresh = build(model, 0).eval()
    fresh.load_state_dict(loaded.state_dict(), strict=True)
    pixels = image(70)
    return all(torch.equal(a, b) for a, b in zip(fresh(pixels), loaded(pixels), strict=True))


@pytest.mark.parametrize(
    ("model", "file", "side"),
    [
        ("test_resnet.r160_in1k", "model.safetensors", 160),
        ("test_convnext.r160_in1k", "pytorch_model.bin", 160),
        ("test_efficientnet.r160_in1k", "test_efficientnet-0123abcd.pth", 160),
        ("test_vit.r160_in1k", "model.safetensors", 160),
        ("swin_tiny_patch4_window7_224.ms_in1k", "model.safetensors", 224),
    ],
)
def test_timm_files_give_the_native_features(model: str, file: str, side: int, tmp_path: Path) -> None:
    network = native_timm(model)
    before = torch.random.get_rng_state()
    loaded = load_released(f"timm/{model}", write(tmp_path / file, network.state_dict())).eval()
    assert torch.equal(torch.random.get_rng_state(), before)
    with torch.no_grad():
        expected = network.forward_intermediates(  # type: ignore[operator]
            normalised(loaded, image(side)), intermediates_only=True
        )
        assert all(torch.equal(a, b) for a, b in zip(loaded(image(side)), expected, strict=True))
        assert hands_over(f"timm/{model}", loaded)


def native_maps(name: str, tower: Any, pixels: Tensor) -> list[Tensor]:
    if name == "tiny-trunk":
        return list(tower.trunk.forward_intermediates(pixels, intermediates_only=True))
    return list(tower.forward_intermediates(pixels, intermediates_only=True)["image_intermediates"])


@pytest.mark.parametrize("name", ["tiny-vit", "tiny-vit-apart", "tiny-resnet", "tiny-trunk"])
@pytest.mark.parametrize("file", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"])
def test_open_clip_files_give_the_native_features(name: str, file: str, tmp_path: Path) -> None:
    clip = native_clip(name)
    side = TINY_CLIPS[name]["vision_cfg"]["image_size"]
    loaded = load_released(f"open_clip/{name}", write(tmp_path / file, clip.state_dict())).eval()
    with torch.no_grad():
        expected = native_maps(name, clip.visual, normalised(loaded, image(side)))
        for ours, theirs in zip(loaded(image(side)), expected, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
        assert hands_over(f"open_clip/{name}", loaded)


def test_openai_layout_in_half_precision_fits_a_model_with_its_text_tower_apart(tmp_path: Path) -> None:
    clip = native_clip("tiny-vit")  # text tower at the top level, as OpenAI had it
    file = write(tmp_path / "open_clip_model.safetensors", {k: v.half() for k, v in clip.state_dict().items()})
    loaded = load_released("open_clip/tiny-vit-apart", file)
    assert all(tensor.dtype == torch.float32 for tensor in loaded.state_dict().values())
    conv = loaded.state_dict()["network.tower.conv1.weight"]
    assert torch.equal(conv, clip.visual.conv1.weight.half().float())


def test_position_embedding_is_resampled_to_the_image(tmp_path: Path) -> None:
    backbone = build("open_clip/tiny-vit", 0).eval()
    maps = backbone(image(64).expand(1, 3, 64, 64)[..., :33, :])
    assert [m.shape for m in maps] == [(1, 32, 3, 4)] * 3
    constant = torch.full((1, 3, 128, 96), 0.5)
    assert all(m.isfinite().all() and m.std((2, 3)).max() > 0 for m in backbone(constant))


def truncated(file: Path) -> Path:
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    return file


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
@pytest.mark.parametrize("model", ["timm/test_vit.r160_in1k", "open_clip/tiny-vit"])
def test_truncated_files_are_refused(model: str, suffix: str, tmp_path: Path) -> None:
    family, name = model.split("/")
    native = native_timm(name) if family == "timm" else native_clip(name)
    file = truncated(write(tmp_path / f"model{suffix}", native.state_dict()))
    with pytest.raises(UnusableWeights, match=r"model\..*: not the released weights of .*; fetch a damaged file again"):
        load_released(model, file)


@pytest.mark.parametrize(
    "model", ["timm/test_resnet.r160_in1k", "timm/dla34.in1k", "open_clip/tiny-resnet", "open_clip/tiny-vit"]
)
def test_weights_of_another_model_are_refused(model: str, tmp_path: Path) -> None:
    file = write(tmp_path / "model.safetensors", native_timm("test_vit.r160_in1k").state_dict())
    with pytest.raises(UnusableWeights, match=r"name the model that the file belongs to$") as refusal:
        load_released(model, file)
    assert str(file) in str(refusal.value)
    assert model in str(refusal.value)


def test_a_file_without_some_of_the_weights_is_refused(tmp_path: Path) -> None:
    state = native_timm("test_vit.r160_in1k").state_dict()
    del state["blocks.1.mlp.fc1.weight"]
    with pytest.raises(UnusableWeights, match=r"Missing key\(s\) in state_dict: \"blocks.1.mlp.fc1.weight\""):
        load_released("timm/test_vit.r160_in1k", write(tmp_path / "model.safetensors", state))
    # timm loads this family without asking for every weight; what is missing is found all the same.
    state = native_timm("dla34.in1k").state_dict()
    del state["level2.tree1.conv1.weight"]
    with pytest.raises(UnusableWeights, match=r"no weights for 1 tensors of timm/dla34.in1k \(such as network.level2"):
        load_released("timm/dla34.in1k", write(tmp_path / "dla.safetensors", state))


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    file = tmp_path / "model.pth"
    torch.save({"conv1.weight": Path(), "hook": print}, file)
    with pytest.raises(UnusableWeights, match=r"weights_only=True blocked loading"):
        load_released("timm/test_resnet.r160_in1k", file)


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torchscript_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "RN50.pt"
    torch.jit.script(nn.Linear(2, 2)).save(str(file))
    with pytest.raises(UnusableWeights, match=r"RN50.pt: a TorchScript archive, .* fetch open_clip/tiny-resnet as saf"):
        load_released("open_clip/tiny-resnet", file)


def test_missing_files_say_what_to_fetch(tmp_path: Path) -> None:
    with pytest.raises(UnusableWeights, match=r"a.bin: no such file; fetch the released weights of open_clip/tiny-vit"):
        load_released("open_clip/tiny-vit", tmp_path / "a.bin")


def test_what_cannot_have_released_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"model: found 'small/vggg'; allowed: .* did you mean 'small/vgg'"):
        load_released("small/vggg", tmp_path / "a.bin")
    with pytest.raises(ValueError, match=r"open_clip/tiny-hub-text needs the text tower some/text-tower"):
        load_released("open_clip/tiny-hub-text", tmp_path / "a.bin")
    assert len(build("open_clip/tiny-hub-text", 0).channels) == 3


def test_a_small_model_takes_the_file_that_a_trial_writes(tmp_path: Path) -> None:
    backbone, file = build("small/vgg", seed=3), tmp_path / "weights" / "backbone.safetensors"
    save_backbone(tmp_path, backbone, "small/vgg")
    loaded = load_released("small/vgg", file).state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in backbone.state_dict().items())
    with pytest.raises(UnusableWeights, match="not the released weights of small/vit"):
        load_released("small/vit", file)
