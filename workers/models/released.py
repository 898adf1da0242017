"""Weights files that others released: what can be wrong with one is said in a sentence."""

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
