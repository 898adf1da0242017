"""Prefetch: the weights that a grid names are fetched once into the usual caches, and each file gets its digest.

    python -m workers.prefetch [--offline] REQUEST.json ANSWER.json

REQUEST.json is a list of `Wanted`, ANSWER.json the list of `Fetched` in the same order: a process that must not import
torch can call this as a child. Files that a cache has are not fetched again, so that a second run, on a machine without
network too, only looks. What cannot be had is a `fault` of its entry, one line, and the others go on.

Caches: HF_HOME for the Hugging Face hub, TORCH_HOME for torch.hub and pyiqa, `.cache/clip` at home for CLIP's archives.
"""

import argparse
import dataclasses
import functools
import hashlib
import json
import socket
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from workers.offline import MissingWeights, hub_folder, no_network, replaced, watch
from workers.sources import sha256

PATIENCE = 15.0
"""Seconds without an answer after which a server counts as out of reach."""
DERIVED = ("liqe_text_feat",)
"""Files that pyiqa computes from weights and keeps beside them, by the beginning of their name."""


@dataclass(frozen=True)
class Wanted:
    """Something that a grid names."""

    kind: Literal["timm", "open_clip", "judge", "file"]
    name: str = ""
    """timm: the architecture, e.g. vgg16; open_clip: the model, e.g. ViT-B-16-quickgelu; judge: its name."""
    tag: str = ""
    """timm: e.g. tv_in1k; open_clip: e.g. openai."""
    path: str = ""
    """file: where it lies."""
    settings: str = ""
    """Of the file of a generator: its sizes and scale as JSON."""


@dataclass(frozen=True)
class Fetched:
    """What was found of it."""

    wanted: Wanted
    files: tuple[tuple[str, str], ...] = ()
    """(path, SHA-256) of each file."""
    content: str = ""
    """SHA-256 of the only file, or over the sorted digests of several; empty for a judge without weights."""
    revision: str = ""
    """Commit of the hub's repository, where the only file comes from the hub."""
    fault: str = ""
    """Empty, or why it cannot be used, in one line."""


def fetch(wanted: Wanted, offline: bool = False) -> Fetched:
    """Looks for what is wanted in the caches, and fetches what is missing unless `offline`."""
    return fetch_all([wanted], offline)[0]


def fetch_all(wanted: Sequence[Wanted], offline: bool = False) -> list[Fetched]:
    """As `fetch`, for each; a server that is once out of reach is not asked again."""
    with no_network() if offline else _fail_fast():
        return [_fetch(one) for one in wanted]


def _fetch(wanted: Wanted) -> Fetched:
    try:
        files = sorted({path.absolute() for path in _find(wanted)})
        digests = tuple((str(path), sha256(path)) for path in files)
    except (OSError, ValueError, RuntimeError) as error:  # no file, an unknown name, a wrong digest
        return Fetched(wanted, fault=" ".join(str(error).split()) or type(error).__name__)
    return Fetched(wanted, digests, content([digest for _, digest in digests]), _revision(files))


def checked(found: Fetched) -> Fetched:
    """Loads a weights file once, as a trial will; what is damaged or of another architecture becomes a fault. A judge
    was built to find its files, so it has been loaded."""
    if found.fault or found.wanted.kind == "judge":
        return found
    try:
        _load(found.wanted, Path(found.files[0][0]))
    except ValueError as error:
        return Fetched(found.wanted, fault=" ".join(str(error).split()))
    return found


def _load(wanted: Wanted, file: Path) -> None:
    from workers import weights
    from workers.models import backbones

    if wanted.settings:
        weights.load_official(file, *weights.generator_sizes(wanted.settings))
        return
    models = {"timm": f"timm/{wanted.name}.{wanted.tag}", "open_clip": f"open_clip/{wanted.name}", "file": wanted.name}
    backbones.load_released(models[wanted.kind], file)


def content(digests: Sequence[str]) -> str:
    """One digest for several files, whatever their order; that of a single one stays as it is."""
    if len(digests) < 2:
        return "".join(digests)
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()


def _find(wanted: Wanted) -> list[Path]:
    """Files of what is wanted, fetched if need be. Raises an OSError, ValueError or RuntimeError that says why not."""
    match wanted.kind:
        case "timm":
            return [_timm(wanted.name, wanted.tag)]
        case "open_clip":
            return [_open_clip(wanted.name, wanted.tag)]
        case "judge":
            return _judge(wanted.name)
        case "file":
            return [_file(wanted.path)]


def _timm(name: str, tag: str) -> Path:
    """The file that timm.create_model(pretrained=True) loads."""
    import timm
    import torch.hub

    model = f"{name}.{tag}" if tag else name
    found = timm.get_pretrained_cfg(model)  # raises RuntimeError for an unknown tag
    if found is None or not found.has_weights:
        raise ValueError(f"timm/{model}: timm {timm.__version__} has no released weights of that name")
    if found.hf_hub_id:
        return _from_hub(found.hf_hub_id, found.hf_hub_filename or "pytorch_model.bin")
    url, file = (found.url, found.url.rsplit("/", 1)[-1]) if isinstance(found.url, str) else found.url
    return _from_url(url, Path(torch.hub.get_dir()) / "checkpoints" / file)


def _open_clip(name: str, tag: str) -> Path:
    """The file that open_clip.create_model(name, pretrained=tag) loads."""
    import open_clip

    found = open_clip.get_pretrained_cfg(name, tag)
    if not found:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or f"none: open_clip has no model {name!r}"
        raise ValueError(f"open_clip/{name}: weights: found {tag!r}; allowed: {tags}")
    if found["hf_hub"]:
        repository, _, file = found["hf_hub"].rpartition("/")
        return _from_hub(repository, file or "open_clip_pytorch_model.bin")
    return _from_url(found["url"], Path("~/.cache/clip").expanduser() / found["url"].rsplit("/", 1)[-1])


def _from_hub(repository: str, file: str) -> Path:
    """A file of a repository of the Hugging Face hub (owner/name or owner/name@revision); its safetensors twin, which
    timm and open_clip prefer, where there is one."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    repository, _, revision = repository.partition("@")
    twin = file.replace("pytorch_model.bin", "model.safetensors")
    twin = twin if twin != file else str(Path(file).with_suffix(".safetensors"))
    for name in dict.fromkeys((twin, file)):
        try:
            return Path(hf_hub_download(repository, name, revision=revision or None))
        except EntryNotFoundError as error:  # not there, or no network and not in the cache
            cause = error
    where = f"{repository}/{twin} of the Hugging Face hub -> {hub_folder(repository)}"
    raise MissingWeights(f"missing weights: {where}") from cause


def _from_url(url: str, file: Path) -> Path:
    """A file behind an address; its name may hold the beginning of its SHA-256, as torch.hub's names do."""
    import torch.hub

    if file.is_file():
        return file
    file.parent.mkdir(parents=True, exist_ok=True)
    named = torch.hub.HASH_REGEX.search(file.name)
    try:
        torch.hub.download_url_to_file(url, str(file), named and named.group(1), progress=False)
    except OSError as error:
        raise MissingWeights(f"missing weights: {url} -> {file} ({error})") from error
    return file


def _judge(name: str) -> list[Path]:
    """Every cached file that building the judge reads: its own weights and its backbones'. Our own judges read none."""
    from workers import judges, judging
    from workers.models.released import UnusableWeights

    if name in judging.OWN:
        return []

    with judges.prepared(name), watch() as seen, _files_read() as read:
        try:
            judges.build(name)
        except UnusableWeights as error:
            raise UnusableWeights(f"judge {name!r}: {error}") from error
        except Exception as error:  # of any library below, and of any damaged file
            why = f"missing weights: {seen.missing[0]}" if seen.missing else f"{type(error).__name__}: {error}"
            raise MissingWeights(f"judge {name!r}: {why}") from error
    return [*read, *seen.hub_files]


_reading: list[set[Path]] = []
"""Where to note what is read; empty outside `_files_read`."""


def _note_read(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _reading and isinstance(arguments[0], str) and "r" in (arguments[1] or ""):
        _reading[-1].add(Path(arguments[0]))


@functools.cache
def _watch_reads() -> None:
    sys.addaudithook(_note_read)  # for good, Python has no way to take it back


@contextmanager
def _files_read() -> Iterator[set[Path]]:
    """Weights in the caches that Python opens meanwhile; complete when it ends. safetensors opens files by itself:
    those are the hub's and come through its door."""
    import torch.hub

    _watch_reads()
    caches = (Path(torch.hub.get_dir()), Path("~/.cache/clip").expanduser())
    read: set[Path] = set()
    _reading.append(read)
    try:
        yield read
    finally:
        _reading.pop()
        read -= {path for path in read if path.name.startswith(DERIVED) or not _within(path, caches)}


def _within(path: Path, folders: Sequence[Path]) -> bool:
    return path.is_file() and any(path.is_relative_to(folder) for folder in folders)


def _file(path: str) -> Path:
    if not Path(path).is_file():
        raise FileNotFoundError(f"missing file: {path}; the grid names it, and nothing fetches it")
    return Path(path)


def _revision(files: Sequence[Path]) -> str:
    """The hub's commit, from a cached file's path: .../models--owner--name/snapshots/<commit>/file."""
    parts = files[0].parts if len(files) == 1 else ()
    return parts[parts.index("snapshots") + 1] if "snapshots" in parts else ""


@contextmanager
def _fail_fast() -> Iterator[None]:
    """Connections that get no answer in `PATIENCE` fail, and further ones to the same server do so at once."""
    from huggingface_hub import constants

    connect, patience, dead = socket.create_connection, socket.getdefaulttimeout(), set()

    def once(address: tuple[str, int], *args: Any, **kwargs: Any) -> socket.socket:
        if address in dead:
            raise ConnectionError(f"{address[0]} is out of reach")
        try:
            return connect(address, *args, **kwargs)
        except OSError:
            dead.add(address)
            if any(address[0] in server for server in (constants.ENDPOINT, *urllib.request.getproxies().values())):
                constants.HF_HUB_OFFLINE = True  # else the hub's client tries each file six times, for 23 s
            raise

    socket.setdefaulttimeout(PATIENCE)
    try:
        with (
            replaced(socket, "create_connection", once),
            replaced(constants, "HF_HUB_OFFLINE", constants.HF_HUB_OFFLINE),
        ):
            yield
    finally:
        socket.setdefaulttimeout(patience)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; the exit code is 0 when ANSWER.json was written, whatever faults it holds."""
    parser = argparse.ArgumentParser(prog="python -m workers.prefetch", description="Fetch what a grid names.")
    parser.add_argument("request", type=Path, metavar="REQUEST.json")
    parser.add_argument("answer", type=Path, metavar="ANSWER.json")
    parser.add_argument("--offline", action="store_true", help="look in the caches only")
    options = parser.parse_args(arguments)
    wanted = [Wanted(**entry) for entry in json.loads(options.request.read_text())]
    found = [dataclasses.asdict(checked(fetched)) for fetched in fetch_all(wanted, options.offline)]
    options.answer.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
