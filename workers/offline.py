"""Trials never download: the doors by which libraries fetch weights, and what keeps them shut.

pyiqa fetches its own files through torch.hub, CLIP's through urllib, and its backbones' through torchvision or timm,
which asks the Hugging Face hub. `watch` stands at each of these and notes which file was asked for in vain and where it
would have gone; `no_network` refuses every connection of this thread, also of doors that nobody thought of, so that a
cached file is found and a missing one fails at once. Both put everything back when they end.
"""

import importlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import constants


class MissingWeights(FileNotFoundError):
    """A weights file that is in no cache; says which, where it comes from and where it goes."""


@dataclass
class Watch:
    """What went through the doors."""

    missing: list[str] = field(default_factory=list)
    """What was asked for and not had: its source and the file that it would have become."""
    hub_files: list[Path] = field(default_factory=list)
    """Files that the Hugging Face hub's cache, or the hub itself, gave."""


def hub_folder(repository: str) -> Path:
    """Folder of a repository of the Hugging Face hub (owner/name) in the local cache."""
    return Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"


def _url_to_file(url: str, file: str, *_: Any, **__: Any) -> str:
    return f"{url} -> {file}"


def _url_to_folder(url: str, root: str) -> str:
    file = Path(root) / url.rsplit("/", 1)[-1]
    damaged = " (the file that is there has another SHA-256: it is damaged)" if file.is_file() else ""
    return f"{url} -> {file}{damaged}"


def _hub_to_cache(repo_id: str, filename: str, *_: Any, **__: Any) -> str:
    return f"{repo_id}/{filename} of the Hugging Face hub -> {hub_folder(repo_id)}"


# (module, function, what a call of it asks for). Each module holds its own name of the function, so each is named.
_DOORS: tuple[tuple[str, str, Callable[..., str]], ...] = (
    ("torch.hub", "download_url_to_file", _url_to_file),  # load_state_dict_from_url of torchvision, timm, pyiqa
    ("pyiqa.utils.download_util", "download_url_to_file", _url_to_file),  # load_file_from_url: pyiqa's own weights
    ("timm.models._hub", "download_url_to_file", _url_to_file),
    ("facexlib.utils.misc", "download_url_to_file", _url_to_file),  # faces of topiq_nr-face
    ("pyiqa.archs.clip_model", "_download", _url_to_folder),  # CLIP of clipiqa+, liqe
    ("pyiqa.archs.afineclip_model", "_download", _url_to_folder),  # CLIP of A-FINE, kept elsewhere
    ("clip.clip", "_download", _url_to_folder),
    ("timm.models._hub", "hf_hub_download", _hub_to_cache),
)


@contextmanager
def watch() -> Iterator[Watch]:
    """Notes what goes through the doors meanwhile; who asked in vain still gets the error that it knows how to handle,
    since timm asks the hub for a second file name when it has not the first."""
    seen = Watch()
    with ExitStack() as stack:
        for module, name, describe in _DOORS:
            door = importlib.import_module(module)
            stack.enter_context(replaced(door, name, _watched(getattr(door, name), describe, seen)))
        yield seen


def _watched(original: Callable[..., Any], describe: Callable[..., str], seen: Watch) -> Callable[..., Any]:
    def door(*args: Any, **kwargs: Any) -> Any:
        try:
            given = original(*args, **kwargs)
        except (OSError, RuntimeError):  # no network or no such file; RuntimeError: not the digest it should have
            seen.missing.append(describe(*args, **kwargs))
            raise
        if describe is _hub_to_cache:
            seen.hub_files.append(Path(given))
        return given

    return door


@contextmanager
def no_network() -> Iterator[list[str]]:
    """Refuses connections of this thread (those of other threads, which are none of a judge's, go on), and sets the
    Hugging Face hub offline: it then gives cached files and says at once when there is none. Yields what was refused.
    """
    thread, refused = threading.get_ident(), []

    def guarded(original: Callable[..., Any]) -> Callable[..., Any]:
        def guard(*args: Any, **kwargs: Any) -> Any:
            local = isinstance(args[0], socket.socket) and args[0].family == socket.AF_UNIX
            if local or threading.get_ident() != thread:
                return original(*args, **kwargs)
            refused.append(f"a file of {args[0]}")
            raise ConnectionRefusedError("there is no network here")

        return guard

    with (
        replaced(socket, "getaddrinfo", guarded(socket.getaddrinfo)),
        replaced(socket.socket, "connect", guarded(socket.socket.connect)),
        replaced(constants, "HF_HUB_OFFLINE", True),
    ):
        yield refused


@contextmanager
def closed(who: str) -> Iterator[Watch]:
    """No download meanwhile. Raises MissingWeights, one sentence about `who`, when what runs inside fails for want of a
    file; other errors pass."""
    with watch() as seen, no_network() as refused:
        try:
            yield seen
        except Exception as error:
            wanted = seen.missing or refused
            if not wanted:
                raise
            what = f"{who}: missing weights: {wanted[0]}; run: python -m orchestrator prefetch GRID"
            raise MissingWeights(what) from error


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Gives `owner` another attribute `name` meanwhile."""
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)
