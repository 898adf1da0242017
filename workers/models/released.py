"""Weights files that others released: what can be wrong with one is said in a sentence."""

import pickle
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from workers.offline import replaced

_SCALAR: Any = np.float64().__reduce__()[0]
# AHIQ's authors saved the mean loss of an epoch beside the weights, which is a number of numpy 1.
NUMBERS: tuple[Any, ...] = (_SCALAR, (_SCALAR, "numpy.core.multiarray.scalar"), np.dtype, np.dtypes.Float64DType)


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


@contextmanager
def weights_alone() -> Iterator[None]:
    """Meanwhile torch.load reads tensors and numbers alone, whatever its caller asks for: a pickle may hold code, which
    reading it runs, and pyiqa asks for that. Raises UnusableWeights, one sentence, for a file that holds more."""
    original = torch.load

    def load(file: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return original(file, *args, **{**kwargs, "weights_only": True})
        except pickle.UnpicklingError as error:
            found = re.search(r"GLOBAL \S+", str(error))  # of torch's eight lines of advice what it says of the file
            why = f"found {found.group().split()[1]}" if found else "damaged, or not written by torch.save"
            raise UnusableWeights(
                f"{getattr(file, 'name', file)}: not weights alone ({why}); whatever else a file holds may be code, "
                "which nothing here runs: remove it, and fetch it again from where it was released"
            ) from error

    with torch.serialization.safe_globals(list(NUMBERS)), replaced(torch, "load", load):
        yield


def _is_torchscript(file: Path) -> bool:
    """Whether it is what torch.jit.save writes: OpenAI once released CLIP so."""
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())
