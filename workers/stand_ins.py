"""Stand-ins for what a rehearsal's machine lacks: tiny data sets in official layouts, random weights as released.

    python -m workers.stand_ins REQUEST.json

REQUEST.json: {"side": pixels, "data": [{"layout", "folders", "scale" (0: no low-resolution side)}],
"weights": [{"model", "file", "settings" (of a generator, else empty)}]}. A child process of the rehearsal, which must
not import torch.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from workers.data import stand_ins
from workers.models import backbones
from workers.models.swinir import SwinIR
from workers.weights import generator_sizes

CONTENTS, PER_CONTENT = 5, 4
IMAGES = 3


def write_data(layout: str, folders: list[Path], scale: int, side: int) -> None:
    """A tiny copy of an official layout, or folders of images, with their low-resolution side unless `scale` is 0."""
    if layout == "images":
        stand_ins.write_images(folders, IMAGES, side, scale or None)
    else:
        stand_ins.write_iqa(layout, folders[0], CONTENTS, PER_CONTENT, side)


def write_weights(model: str, file: Path) -> None:
    """The whole network `timm/...` or `open_clip/...`, classifier and all, with random weights: as released. Of a
    `small/` model the backbone, as a trial writes it."""
    library, _, name = model.partition("/")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if library == "timm":
            import timm

            state = timm.create_model(name, pretrained=False).state_dict()
        elif library == "small":
            state = backbones.build(model, seed=0).state_dict()
        else:
            import open_clip

            state = open_clip.create_model(name, pretrained=None).state_dict()
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous().clone() for key, value in state.items()}, file)


def write_generator(settings: str, file: Path) -> None:
    """A SwinIR with random weights as its authors release it; `settings` are its sizes and scale as JSON."""
    sizes, scale = generator_sizes(settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = SwinIR(scale, sizes)
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"params": generator.state_dict()}, file)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m workers.stand_ins", description="Write stand-ins.")
    parser.add_argument("request", type=Path, metavar="REQUEST.json")
    request: dict[str, Any] = json.loads(parser.parse_args().request.read_text())
    for one in request["data"]:
        write_data(one["layout"], [Path(folder) for folder in one["folders"]], one["scale"], request["side"])
    for one in request["weights"]:
        if one["settings"]:
            write_generator(one["settings"], Path(one["file"]))
        else:
            write_weights(one["model"], Path(one["file"]))


if __name__ == "__main__":
    main()
