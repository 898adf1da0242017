"""Judges: pyiqa's scores, one an image whatever the batch, on inputs that stay as they are."""

import hashlib
import logging
import os
import re
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from torch import nn

from orchestrator import spec
from workers import judges, offline, prefetch
from workers.data import photographs, sr_pairs
from workers.models.released import UnusableWeights, weights_alone

NAMES = ("psnr", "ssim", "vsi", "gmsd", "fsim", "piqe")
LOWER_BETTER = ("gmsd", "piqe")


@pytest.fixture(scope="module")
def images() -> tuple[torch.Tensor, torch.Tensor]:
    """(restored, reference): three crops of 128 pixels, restored with growing noise."""
    crops = [photographs.central_crop(photographs.load(spec.photograph(name)), 128) for name in ("chelsea", "coffee")]
    reference = torch.stack([photographs.to_tensor(crop) for crop in (*crops, crops[0])])
    noise = torch.randn(reference.shape, generator=torch.Generator().manual_seed(0))
    strength = torch.tensor([0.02, 0.05, 0.15])[:, None, None, None]
    return (reference + strength * noise).clamp(0, 1), reference


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_scores_as_its_images_do(name: str, images: tuple[torch.Tensor, torch.Tensor]) -> None:
    judge = judges.judge(name)
    together = judge.scores(*images)
    alone = [judge.scores(x[None], y[None])[0] for x, y in zip(*images, strict=True)]
    assert together == pytest.approx(alone, rel=1e-5)
    assert judges.judge(name, batch=2).scores(*images) == pytest.approx(alone, rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_more_noise_is_worse_in_the_stated_direction(name: str, images: tuple[torch.Tensor, torch.Tensor]) -> None:
    judge = judges.judge(name)
    assert judge.lower_better == (name in LOWER_BETTER)
    mild, _, strong = judge.scores(*images)  # the same crop
    assert (mild < strong) == judge.lower_better


@pytest.mark.parametrize("name", NAMES)
def test_inputs_stay_as_they_are(name: str, images: tuple[torch.Tensor, torch.Tensor]) -> None:
    before = [x.clone() for x in images]
    state = torch.random.get_rng_state()
    judges.judge(name).scores(*images)
    assert all(torch.equal(x, y) for x, y in zip(images, before, strict=True))
    assert torch.equal(state, torch.random.get_rng_state())


def test_metrics_get_clones_and_no_reference_ones_get_no_reference(images: tuple[torch.Tensor, torch.Tensor]) -> None:
    class Spoiler:
        lower_better, metric_mode = True, "NR"

        def __call__(self, restored: torch.Tensor) -> torch.Tensor:
            return restored.mul_(0).sum((1, 2, 3))[:, None]

    before = images[0].clone()
    assert judges.Judge("spoiler", Spoiler(), batch=2).scores(*images) == [0, 0, 0]
    assert torch.equal(images[0], before)


def test_a_fine_gets_one_image_at_a_time(images: tuple[torch.Tensor, torch.Tensor]) -> None:
    class OnlyOne:
        lower_better, metric_mode = True, "FR"

        def __call__(self, restored: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
            return (restored - reference).abs().mean()

    assert len(judges.Judge("afine_all", OnlyOne(), batch=16).scores(*images)) == 3
    with pytest.raises(ValueError, match="'mean': found 1 scores for 3 images; allowed: one each"):
        judges.Judge("mean", OnlyOne(), batch=16).scores(*images)


def test_psnr_is_that_of_the_pairs(images: tuple[torch.Tensor, torch.Tensor]) -> None:
    expected = [sr_pairs.psnr(x, y) for x, y in zip(*images, strict=True)]
    assert judges.judge("psnr").scores(*images) == pytest.approx(expected, rel=1e-4)  # pyiqa adds an epsilon


def test_no_reference_needs_none(images: tuple[torch.Tensor, torch.Tensor]) -> None:
    piqe = judges.judge("piqe")
    assert not piqe.full_reference
    assert piqe.scores(images[0]) == piqe.scores(*images)


def test_full_reference_needs_one(images: tuple[torch.Tensor, torch.Tensor]) -> None:
    with pytest.raises(ValueError, match=r"'psnr': reference: found none; allowed: the shape of restored, \(3, 3, 128"):
        judges.judge("psnr").scores(images[0])
    with pytest.raises(ValueError, match=r"found \(1, 3, 128, 128\)"):
        judges.judge("psnr").scores(images[0], images[1][:1])


def test_a_score_that_is_not_finite(images: tuple[torch.Tensor, torch.Tensor]) -> None:
    black = torch.stack([images[0][0], torch.zeros(3, 128, 128)])  # PIQE divides by the image's maximum
    with pytest.raises(ValueError, match="'piqe': the score of image 1 is nan"):
        judges.judge("piqe").scores(black)


@pytest.mark.parametrize("value", [float("nan"), -0.1, 1.1])
def test_pixels_out_of_range(value: float, images: tuple[torch.Tensor, torch.Tensor]) -> None:
    spoilt = images[0].clone()
    spoilt[2, 0, 5, 5] = value
    with pytest.raises(ValueError, match=r"'psnr': restored: found values .* in image 2; allowed: 0 to 1"):
        judges.judge("psnr").scores(spoilt, images[1])


def test_wrong_layout() -> None:
    with pytest.raises(ValueError, match=r"restored: found torch.uint8 \(8, 8, 3\); allowed: float \(N, 3, H, W\)"):
        judges.judge("piqe").scores(torch.zeros(8, 8, 3, dtype=torch.uint8))


def test_unknown_name() -> None:
    with pytest.raises(ValueError, match=r"judge: found 'psnrr'; allowed: .* in all\); did you mean 'psnr'"):
        judges.judge("psnrr")


def test_built_once_and_quietly(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.WARNING):
        built = judges.judge("nlpd")
    assert all(judges.judge("nlpd", device) is built for device in ("cpu", torch.device("cpu")))
    assert not caplog.records
    assert capfd.readouterr().out == ""


def test_version() -> None:
    import pyiqa  # here, since it takes seconds

    assert judges.version() == pyiqa.__version__


def test_the_variant_is_stated() -> None:
    assert judges.judge("psnr").variant == "PSNR test_y_channel=False"


@pytest.mark.parametrize(("name", "least"), [("vif", 33), ("ssim", 11), ("piqe", 8), ("gmsd", 4), ("fsim", 2)])
def test_images_that_are_too_small(name: str, least: int) -> None:
    image = torch.rand(1, 3, least, 40, generator=torch.Generator().manual_seed(0))
    judges.judge(name).scores(image, image)
    message = rf"'{name}': restored: found {least - 1} x 40 pixels; allowed: at least {least} a side"
    with pytest.raises(ValueError, match=message):
        judges.judge(name).scores(image[:, :, 1:], image[:, :, 1:])


@pytest.mark.parametrize("name", judges.ALONE_ON_CPU)
def test_some_get_one_image_at_a_time_on_a_cpu(name: str) -> None:
    class Counter:
        lower_better, metric_mode, batches = True, "NR", list[int]()

        def __call__(self, restored: torch.Tensor) -> torch.Tensor:
            self.batches.append(len(restored))
            return torch.ones(len(restored))

    metric = judges.Judge(name, Counter(), batch=16)
    assert metric._together(torch.empty(3, 3, 8, 8, device="meta")) == 16
    metric.scores(torch.ones(3, 3, 200, 200))
    assert Counter.batches[-3:] == [1, 1, 1]


def test_large_images_are_scored_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counter:
        lower_better, metric_mode, batches = True, "NR", list[int]()

        def __call__(self, restored: torch.Tensor) -> torch.Tensor:
            self.batches.append(len(restored))
            return restored.mean((1, 2, 3))

    monkeypatch.setattr(judges, "PIXELS_AT_ONCE", 2 * 40 * 50)
    assert judges.Judge("mean", Counter(), batch=16).scores(torch.ones(5, 3, 40, 50)) == [1] * 5
    assert Counter.batches == [2, 2, 1]


def test_a_fine_is_padded_to_its_patches_by_its_own_edges() -> None:
    class Sees:
        lower_better, metric_mode = True, "FR"

        def __call__(self, restored: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
            assert restored.shape == reference.shape == (1, 3, 64, 32)
            assert torch.equal(restored[..., :40, :], image)
            assert torch.equal(restored[..., 40:, :], image[..., 39:, :].expand(-1, -1, 24, -1))
            return restored.mean()

    image = torch.rand(1, 3, 40, 32, generator=torch.Generator().manual_seed(0))
    judges.Judge("afine_fr", Sees(), batch=16).scores(image, image)


# ------------------------------------------------------------------------------------- judges with weights
#
# The weights are drawn here and written under the names, and in the layouts, that the libraries look for. They keep the
# official shapes unless a docstring says otherwise; blocks share their values and the largest layers are constant, so
# that files are small. CLIP's files are named by their digest, so the digest that is expected is changed too.


class Caches:
    """Empty caches in a temporary folder, and what puts weights into them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import pyiqa.archs.liqe_arch
        import pyiqa.utils.download_util

        self.hub, self.home, self.hugging_face = folder / "torch" / "hub", folder / "home", folder / "huggingface"
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(torch.hub, "_hub_dir", str(self.hub))
        monkeypatch.setenv("HOME", str(self.home))
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(self.hugging_face))
        for module in (pyiqa.utils.download_util, pyiqa.archs.liqe_arch):
            monkeypatch.setattr(module, "DEFAULT_CACHE_DIR", str(self.hub / "pyiqa"))

    def pyiqa(self, name: str, content: Any) -> None:
        _save(content, self.hub / "pyiqa" / name)

    def torchvision(self, name: str, network: nn.Module) -> None:
        _save(shrunk(network.state_dict()), self.hub / "checkpoints" / name)

    def timm(self, repository: str, network: nn.Module) -> None:
        """As the hub's cache keeps it, without the safetensors twin that timm asks for first."""
        root = self.hugging_face / f"models--timm--{repository}"
        _save(shrunk(network.state_dict()), root / "snapshots" / "0" / "pytorch_model.bin")
        (root / "refs").mkdir()
        (root / "refs" / "main").write_text("0")

    def clip(self, library: Any, name: str, state: Mapping[str, torch.Tensor], folder: Path) -> None:
        """A TorchScript archive, as OpenAI released CLIP."""
        root = nn.Module()
        for key, value in state.items():
            module = root
            for part in key.split(".")[:-1]:
                if not hasattr(module, part):
                    module.add_module(part, nn.Module())
                module = getattr(module, part)
            module.register_buffer(key.rsplit(".", 1)[-1], value)
        file = folder / f"{name.replace('/', '-')}.pt"
        file.parent.mkdir(parents=True, exist_ok=True)
        with pytest.warns(FutureWarning, match="torch.jit.script"):
            scripted = torch.jit.script(root)
        with pytest.warns(FutureWarning, match="torch.jit.save"):
            torch.jit.save(scripted, file)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        self._monkeypatch.setitem(library._MODELS, name, f"weights://{digest}/{file.name}")


def _save(content: Any, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, file)


def shrunk(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same names and shapes in less space: see above."""
    seen: dict[Any, torch.Tensor] = {}
    for name, value in state.items():
        like = re.sub(r"\d+", "#", name), value.shape
        small = value.flatten()[:1].expand(value.shape) if value.numel() > 2**25 else value.clone()
        seen.setdefault(like, small.half() if small.is_contiguous() and small.is_floating_point() else small)
    return {name: seen[re.sub(r"\d+", "#", name), value.shape] for name, value in state.items()}


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    with judges.prepared("psnr"):
        made = Caches(tmp_path, monkeypatch)
    judges._judge.cache_clear()
    torch.manual_seed(0)
    yield made
    judges._judge.cache_clear()


def _musiq(caches: Caches) -> None:
    from pyiqa.archs.musiq_arch import MUSIQ

    caches.pyiqa("musiq_koniq_ckpt-e95806b9.pth", shrunk(MUSIQ(pretrained=False).state_dict()))


def _topiq(caches: Caches) -> None:
    import timm
    from pyiqa.archs.topiq_arch import CFANet

    caches.timm("resnet50.a1_in1k", timm.create_model("resnet50"))
    own = CFANet("resnet50", use_ref=False, pretrained=False, backbone_pretrain=False)
    caches.pyiqa("cfanet_nr_koniq_res50-9a73138b.pth", {"params": shrunk(own.state_dict())})


def _lpips(caches: Caches) -> None:
    import torchvision

    caches.torchvision("alexnet-owt-7be5be79.pth", torchvision.models.alexnet())
    weights = {f"lin{i}.model.1.weight": torch.rand(1, n, 1, 1) for i, n in enumerate((64, 192, 384, 256, 256))}
    caches.pyiqa("LPIPS_v0.1_alex-df73285e.pth", weights)


def _dists(caches: Caches) -> None:
    import torchvision

    caches.torchvision("vgg16-397923af.pth", torchvision.models.vgg16(init_weights=False))
    caches.pyiqa("DISTS_weights-f5e65c96.pth", {name: torch.rand(1, 1475, 1, 1) for name in ("alpha", "beta")})


def _clipiqa(caches: Caches) -> None:
    """With one block a stage instead of 3, 4, 6, 3 and two text layers instead of twelve."""
    from pyiqa.archs import clip_model

    clip = clip_model.CLIP(1024, 224, (1, 1, 1, 1), 64, None, 77, 49408, 512, 8, 2)
    caches.clip(clip_model, "RN50", shrunk(clip.state_dict()), caches.hub / "clip")
    caches.pyiqa("CLIP-IQA%2B_learned_prompts-603f3273.pth", torch.randn(2, 16, 512) * 0.02)


def _liqe(caches: Caches) -> None:
    """With two layers instead of twelve."""
    from pyiqa.archs import clip_model

    state = shrunk(clip_model.CLIP(512, 224, 2, 768, 32, 77, 49408, 512, 8, 2).state_dict())
    caches.clip(clip_model, "ViT-B/32", state, caches.hub / "clip")
    caches.pyiqa("liqe_koniq.pt", {"params": {f"clip_model.{name}": value for name, value in state.items()}})


def _afine(caches: Caches) -> None:
    """With two text layers instead of twelve."""
    from pyiqa.archs import afine_arch, afineclip_model, clip_model

    state = shrunk(clip_model.CLIP(512, 224, 12, 768, 32, 77, 49408, 512, 8, 2).state_dict())
    caches.clip(afineclip_model, "ViT-B/32", state, caches.home / ".cache" / "clip")
    parts = {
        "natural": afine_arch.AFINEQhead(),
        "fidelity": afine_arch.AFINEDhead(),
        "fidelity_scale": afine_arch.AFINENLM_FR_Fit_with_limit(),
        "natural_scale": afine_arch.AFINENLM_NR_Fit(),
        "adapter": afine_arch.AFINELearnLambda(),
    }
    weights = {name: part.state_dict() for name, part in parts.items()}
    caches.pyiqa("afine.pth", {"finetuned_clip": state, **weights})


# judge: (what makes its weights, whether lower is better, the first file that it misses, where that goes)
WEIGHTED: dict[str, tuple[Callable[[Caches], None] | None, bool, str, str]] = {
    "musiq": (_musiq, False, "musiq_koniq_ckpt-e95806b9.pth", "torch/hub/pyiqa/musiq_koniq_ckpt-e95806b9.pth"),
    "maniqa": (
        None,
        False,
        "timm/vit_base_patch8_224.augreg2_in21k_ft_in1k/model.safetensors",
        "huggingface/models--timm--vit_base_patch8_224.augreg2_in21k_ft_in1k",
    ),
    "topiq_nr": (_topiq, False, "timm/resnet50.a1_in1k/model.safetensors", "models--timm--resnet50.a1_in1k"),
    "clipiqa+": (_clipiqa, False, "RN50.pt", "torch/hub/clip/RN50.pt"),
    "liqe": (_liqe, False, "ViT-B-32.pt", "torch/hub/clip/ViT-B-32.pt"),
    "afine_all": (_afine, True, "ViT-B-32.pt", "home/.cache/clip/ViT-B-32.pt"),
    "lpips": (_lpips, True, "alexnet-owt-7be5be79.pth", "torch/hub/checkpoints/alexnet-owt-7be5be79.pth"),
    "dists": (_dists, True, "vgg16-397923af.pth", "torch/hub/checkpoints/vgg16-397923af.pth"),
}


@pytest.mark.parametrize("name", WEIGHTED)
def test_missing_weights_are_an_error_at_once_and_no_download(
    name: str, caches: Caches, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **_: asked.append(arguments))
    _, _, file, place = WEIGHTED[name]
    with pytest.raises(offline.MissingWeights) as caught:
        judges.judge(name)
    message = str(caught.value)
    assert re.fullmatch(
        rf"judge '{re.escape(name)}': missing weights: \S*{re.escape(file)}.* -> \S*{re.escape(place)}"
        r"; run: python -m orchestrator prefetch GRID",
        message,
    )
    assert not asked
    assert not constants.HF_HUB_OFFLINE


@pytest.mark.parametrize("name", [name for name, (make, *_) in WEIGHTED.items() if make])
def test_with_weights_in_the_caches(
    name: str, caches: Caches, images: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    make, lower_better, *_ = WEIGHTED[name]
    assert make
    make(caches)
    judge = judges.judge(name)
    assert judge.lower_better == lower_better
    size = 224 if name == "liqe" else 90
    restored, reference = (torch.nn.functional.interpolate(x[:2], size) for x in images)
    before = restored.clone()
    scores = judge.scores(restored, reference)
    assert torch.equal(restored, before)
    assert len(set(scores)) == 2
    assert scores == pytest.approx(
        [judge.scores(x[None], y[None])[0] for x, y in zip(restored, reference, strict=True)], rel=1e-4
    )


def test_the_second_of_two_files_is_named_too(caches: Caches) -> None:
    _lpips(caches)
    (caches.hub / "pyiqa" / "LPIPS_v0.1_alex-df73285e.pth").unlink()
    with pytest.raises(offline.MissingWeights, match=r"missing weights: \S*/LPIPS_v0.1_alex-df73285e.pth -> "):
        judges.judge("lpips")


def test_a_damaged_clip_is_not_fetched_again(caches: Caches) -> None:
    (caches.hub / "clip").mkdir(parents=True)
    (caches.hub / "clip" / "RN50.pt").write_bytes(b"half of it")
    with pytest.raises(offline.MissingWeights, match=r"RN50.pt \(the file that is there has another SHA-256"):
        judges.judge("clipiqa+")


# ------------------------------------------------------------------------------- weights that hold more


class Payload:
    """Creates a file when a pickle of it is read."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.file),)


@pytest.mark.parametrize(
    ("judge", "file"), [("musiq", "musiq_koniq_ckpt-e95806b9.pth"), ("brisque", "brisque_svm_weights.pth")]
)
def test_a_pickle_in_the_place_of_weights_does_not_run(judge: str, file: str, caches: Caches, tmp_path: Path) -> None:
    made = tmp_path / "made by the pickle"
    caches.pyiqa(file, {"params": Payload(made)})
    path = caches.hub / "pyiqa" / file
    told = prefetch.fetch(prefetch.Wanted("judge", judge), offline=True)
    assert told.fault == (
        f"judge {judge!r}: {path}: not weights alone (found {os.mkdir.__module__}.mkdir); whatever else a file holds "
        "may be code, which nothing here runs: remove it, and fetch it again from where it was released"
    )
    with pytest.raises(UnusableWeights, match=re.escape(str(path))):
        judges.judge(judge)
    assert not made.exists()
    torch.load(path, weights_only=False)  # afterwards, and only then, what is asked for
    assert made.exists()


def test_a_damaged_pickle_is_named(caches: Caches) -> None:
    file = caches.hub / "pyiqa" / "musiq_koniq_ckpt-e95806b9.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"\x80\x02\x95")
    told = prefetch.fetch(prefetch.Wanted("judge", "musiq"), offline=True)
    assert told.fault.startswith(f"judge 'musiq': {file}: not weights alone (damaged, or not written by torch.save); ")


def test_a_number_beside_the_weights_is_read(tmp_path: Path) -> None:
    """As AHIQ's authors saved theirs, with the loss that numpy had averaged."""
    torch.save({"loss": np.mean([1.0, 2.0])}, tmp_path / "ahiq.pth")
    with weights_alone():
        assert torch.load(tmp_path / "ahiq.pth", weights_only=False) == {"loss": 1.5}
