"""Prefetch: files found in caches of the official layout, their digests, and one line for what is missing."""

import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants

from workers import offline, prefetch
from workers.prefetch import Wanted
from workers.stand_ins import write_weights

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with empty caches."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "torch" / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "huggingface"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(autouse=True)
def connections(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Hosts whose address was asked for; none is ever had."""
    asked: list[str] = []

    def refuse(host: str, *_: Any, **__: Any) -> Any:
        asked.append(host)
        raise socket.gaierror("unplugged")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return asked


@pytest.fixture
def hub_file(home: Path) -> Callable[..., Path]:
    """(repository, file) -> that file in the hub's cache: a blob, a link in snapshots/<commit>/, and refs/main."""

    def put(repository: str, file: str, content: bytes = b"weights") -> Path:
        root = home / "huggingface" / f"models--{repository.replace('/', '--')}"
        blob, link = root / "blobs" / hashlib.sha256(content).hexdigest(), root / "snapshots" / COMMIT / file
        for path in (blob, link, root / "refs" / "main"):
            path.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        link.symlink_to(blob)
        (root / "refs" / "main").write_text(COMMIT)
        return link

    return put


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("only", [True, False])
@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_timm_in_the_cache(file: str, only: bool, hub_file: Callable[..., Path], connections: list[str]) -> None:
    path = hub_file("timm/vgg16.tv_in1k", file)
    found = prefetch.fetch(Wanted("timm", "vgg16", "tv_in1k"), only)
    assert found.fault == ""
    assert found.files == ((str(path), sha256(b"weights")),)
    assert found.content == sha256(b"weights")
    assert found.revision == COMMIT
    assert not (only and connections)


@pytest.mark.parametrize(
    ("name", "tag", "repository", "file"),
    [
        ("ViT-B-16-quickgelu", "openai", "timm/vit_base_patch16_clip_224.openai", "open_clip_model.safetensors"),
        ("ViT-B-32", "laion2b_s34b_b79k", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "open_clip_pytorch_model.bin"),
    ],
)
def test_open_clip_in_the_cache(name: str, tag: str, repository: str, file: str, hub_file: Callable[..., Path]) -> None:
    path = hub_file(repository, file)
    found = prefetch.fetch(Wanted("open_clip", name, tag), True)
    assert (found.fault, found.files, found.revision) == ("", ((str(path), sha256(b"weights")),), COMMIT)


@pytest.mark.parametrize("only", [True, False])
def test_what_is_missing_in_one_line(only: bool, home: Path, connections: list[str]) -> None:
    timm, clip, lpips = prefetch.fetch_all(
        [
            Wanted("timm", "vgg16", "tv_in1k"),
            Wanted("open_clip", "ViT-B-16-quickgelu", "openai"),
            Wanted("judge", "lpips"),
        ],
        only,
    )
    where = f"of the Hugging Face hub -> {home}/huggingface/models--timm--"
    assert timm.fault == f"missing weights: timm/vgg16.tv_in1k/model.safetensors {where}vgg16.tv_in1k"
    name = "vit_base_patch16_clip_224.openai"
    assert clip.fault == f"missing weights: timm/{name}/open_clip_model.safetensors {where}{name}"
    assert lpips.fault.startswith("judge 'lpips': missing weights: http")
    assert lpips.fault.endswith(f"/alexnet-owt-7be5be79.pth -> {home}/torch/hub/checkpoints/alexnet-owt-7be5be79.pth")
    assert [(x.files, x.content, x.revision) for x in (timm, clip, lpips)] == [((), "", "")] * 3
    assert len(connections) == (0 if only else 2), "one attempt a server"
    assert not constants.HF_HUB_OFFLINE
    assert socket.getdefaulttimeout() is None


@pytest.mark.parametrize(
    ("wanted", "fault"),
    [
        (Wanted("timm", "vgg16", "tv"), "Invalid pretrained tag (tv) for vgg16."),
        (Wanted("timm", "vgg17", "tv_in1k"), "timm/vgg17.tv_in1k: timm "),
        (Wanted("open_clip", "ViT-B-16", "opnai"), "open_clip/ViT-B-16: weights: found 'opnai'; allowed: openai, "),
        (Wanted("open_clip", "ViT-B", "openai"), "open_clip/ViT-B: weights: found 'openai'; allowed: none: open_clip "),
        (Wanted("judge", "psnrr"), "judge: found 'psnrr'; allowed: "),
        (Wanted("file", path="no/such.safetensors"), "missing file: no/such.safetensors; the grid names it, "),
    ],
)
def test_wrong_names(wanted: Wanted, fault: str, connections: list[str]) -> None:
    found = prefetch.fetch(wanted, True)
    assert found.fault.startswith(fault)
    assert "\n" not in found.fault
    assert not connections


def test_a_judge_without_weights(home: Path, connections: list[str]) -> None:
    assert prefetch.fetch(Wanted("judge", "psnr"), False) == prefetch.Fetched(Wanted("judge", "psnr"))
    assert not connections


def test_a_judge_names_every_file_that_it_loads(home: Path, connections: list[str]) -> None:
    import pyiqa.utils.download_util
    import torchvision

    backbone = home / "torch" / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth"
    with pytest.MonkeyPatch.context() as patch:
        own = home / "torch" / "hub" / "pyiqa" / "LPIPS_v0.1_alex-df73285e.pth"
        patch.setattr(pyiqa.utils.download_util, "DEFAULT_CACHE_DIR", str(own.parent))
        for path in (own, backbone):
            path.parent.mkdir(parents=True)
        torch.save({f"lin{i}.model.1.weight": torch.ones(1, n, 1, 1) for i, n in enumerate((64, 192))}, own)
        state = torchvision.models.alexnet().state_dict()
        torch.save({name: value.flatten()[:1].expand(value.shape) for name, value in state.items()}, backbone)
        found = prefetch.fetch(Wanted("judge", "lpips"), True)
        backbone.write_bytes(b"half of it")
        damaged = prefetch.fetch(Wanted("judge", "lpips"), True)
    assert [path for path, _ in found.files] == [str(backbone), str(own)]
    digests = sorted(digest for _, digest in found.files)
    assert found.content == sha256("\n".join(digests).encode())
    assert (found.fault, found.revision) == ("", "")
    assert damaged.fault.startswith("judge 'lpips': ")
    assert damaged.content == ""
    assert not connections


def test_a_file_of_the_grid(tmp_path: Path) -> None:
    file = tmp_path / "swinir.pth"
    file.write_bytes(b"generator")
    found = prefetch.fetch(Wanted("file", path=str(file)), True)
    assert (found.files, found.content, found.fault) == (((str(file), sha256(b"generator")),), sha256(b"generator"), "")


def test_a_download_is_checked_by_the_digest_in_its_name(tmp_path: Path) -> None:
    source = tmp_path / "released"
    source.write_bytes(b"weights")
    good, bad = (tmp_path / "cache" / f"net-{digits}.pth" for digits in (sha256(b"weights")[:8], "00000000"))
    assert prefetch._from_url(source.as_uri(), good).read_bytes() == b"weights"
    with pytest.raises(RuntimeError, match="invalid hash value"):
        prefetch._from_url(source.as_uri(), bad)
    assert not bad.exists()


def test_an_own_judge_needs_no_file_and_no_pyiqa(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyiqa", None)  # importing it is an error now
    found = prefetch.checked(prefetch.fetch(Wanted("judge", "artifacts"), offline=True))
    assert (found.files, found.content, found.fault) == ((), "", "")


def test_no_network_refuses_and_says_what() -> None:
    with offline.no_network() as refused:
        with pytest.raises(ConnectionRefusedError, match="there is no network here"):
            socket.getaddrinfo("example.invalid", 443)
        one, other = socket.socketpair()  # local sockets are no network
        one.close(), other.close()
    assert refused == ["a file of example.invalid"]


def test_other_threads_go_on(connections: list[str]) -> None:
    with offline.no_network() as refused, ThreadPoolExecutor(1) as pool, pytest.raises(socket.gaierror):
        pool.submit(socket.getaddrinfo, "example.invalid", 443).result()
    assert connections == ["example.invalid"]
    assert not refused


def test_a_file_behind_a_door_that_nobody_thought_of() -> None:
    with (
        pytest.raises(offline.MissingWeights, match=r"judge 'x': missing weights: a file of example\.invalid; run: "),
        offline.closed("judge 'x'"),
    ):
        socket.getaddrinfo("example.invalid", 443)


def test_other_errors_pass_closed_doors() -> None:
    with pytest.raises(KeyError, match="other"), offline.closed("judge 'x'"):
        raise KeyError("other")


SIZES = {
    "channels": 8,
    "depths": [1],
    "heads": [1],
    "window": 8,
    "mlp_ratio": 2.0,
    "upsampler": "pixelshuffledirect",
    "residual": "1conv",
    "scale": 2,
}


def test_the_command_line_as_a_child(hub_file: Callable[..., Path], home: Path, tmp_path: Path) -> None:
    path = hub_file("timm/test_resnet.r160_in1k", "model.safetensors")
    write_weights("timm/test_resnet.r160_in1k", path)
    digest = sha256(path.read_bytes())
    hub_file("timm/vgg16.tv_in1k", "model.safetensors")
    request, answer = tmp_path / "request.json", tmp_path / "answer.json"
    wanted = [
        {"kind": "timm", "name": "test_resnet", "tag": "r160_in1k"},
        {"kind": "file", "path": "no/such"},
        {"kind": "timm", "name": "vgg16", "tag": "tv_in1k"},
        {"kind": "file", "name": "timm/vgg16.tv_in1k", "path": str(path)},
        {"kind": "file", "name": "generator", "path": str(path), "settings": json.dumps(SIZES)},
    ]
    request.write_text(json.dumps(wanted))
    surroundings = {**os.environ, "HF_HUB_CACHE": constants.HF_HUB_CACHE, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "workers.prefetch", "--offline", str(request), str(answer)]
    root = Path(__file__).parents[2]
    subprocess.run(command, cwd=root, env=surroundings, check=True, capture_output=True)
    found = json.loads(answer.read_text())
    assert found[0] == {
        "wanted": {"kind": "timm", "name": "test_resnet", "tag": "r160_in1k", "path": "", "settings": ""},
        "files": [[str(path), digest]],
        "content": digest,
        "revision": COMMIT,
        "fault": "",
    }
    assert found[1]["fault"].startswith("missing file: no/such")
    # Not hours later, in a trial: a damaged file, one of another network, one that is no generator at all.
    assert "not the released weights of timm/vgg16.tv_in1k" in found[2]["fault"]
    assert f"{path}: not the released weights of timm/vgg16.tv_in1k" in found[3]["fault"]
    assert f"{path}: not the released weights of" in found[4]["fault"]
