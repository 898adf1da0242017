"""Weights files that others released: what can be wrong with one is said in a sentence."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UnusableWeights(ValueError):
    """A weights file that is missing, damaged, or not of the model it should be of; says which and what to do."""


@contextmanager
def reading(file: Path, model: str) -> Iterator[None]:
    """Reads `file` as the weights of `model`; whatever goes wrong meanwhile is raised as UnusableWeights."""
    if not file.is_file():
        raise UnusableWeights(f"{file}: no such file; fetch the released weights of {model} first")
    if _is_torchscript(file):
        raise UnusableWeights(
            f"{file}: a TorchScript archive, which holds code besides weights; fetch {model} as safetensors"
        )
    try:
        yield
    except (
        Exception
    ) as error:  # foreign files fail in the ways of zip, pickle, safetensors, a filter or load_state_dict
        why = " ".join(str(error).split())[:300] or type(error).__name__
        raise UnusableWeights(
            f"{file}: not the released weights of {model} ({why}); fetch a damaged file again, or name the model that "
            "the file belongs to"
        ) from error


def _is_torchscript(file: Path) -> bool:
    """Whether it is what torch.jit.save writes: OpenAI once released CLIP so."""
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())
