"""What a metric computes of one image alone is computed once for that image: a reference meets the restoration of every
method, and VSI spends nine tenths of its time on the saliency of single images.

What is recalled is what pyiqa's own function gave for the very same bytes, so scores keep every bit. Functions are
replaced while one of the project's judges scores, and at no other time.
"""

import hashlib
import importlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from workers.offline import replaced

# metric: (module, function). Each maps tensors and numbers to a tensor, is a function of these alone, and sees restored
# images and references apart: VSI's saliency map, and the windowed means of SSIM (two of its five are the reference's).
SINGLE_IMAGE = {
    "vsi": ("pyiqa.archs.vsi_arch", "sdsp"),
    "ssim": ("pyiqa.archs.ssim_arch", "filter2"),
    "ssimc": ("pyiqa.archs.ssim_arch", "filter2"),
    "ms_ssim": ("pyiqa.archs.ssim_arch", "filter2"),
}

MOST_BYTES = 2**26
"""Of all that is kept, for the whole process: the saliency of 500 images of 128 x 128 pixels."""
FEWEST = 32
"""A larger tensor than would leave room for so many is not kept: it would be gone before its image came again."""


class Memory:
    """The latest results of functions, by their arguments' content, up to a number of bytes."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._bytes = most_bytes, 0
        self._kept: OrderedDict[Hashable, Tensor] = OrderedDict()

    def recalling(self, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """`function`, computed once for equal arguments on a CPU: reading them back from a GPU would cost more than it
        saves. Results are copies, which the caller may write into."""

        def recalled(*args: Any, **kwargs: Any) -> Tensor:
            if not all(self._small(value) for value in args if isinstance(value, Tensor)):
                return function(*args, **kwargs)
            key = (function, *map(_content, args), *sorted(kwargs.items()))
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key].clone()
            result = function(*args, **kwargs)
            self._keep(key, result.clone())
            return result

        return recalled

    def clear(self) -> None:
        """Forgets everything."""
        self._kept.clear()
        self._bytes = 0

    def _small(self, tensor: Tensor) -> bool:
        return tensor.device.type == "cpu" and tensor.nbytes * FEWEST <= self._most

    def _keep(self, key: Hashable, result: Tensor) -> None:
        self._kept[key] = result
        self._bytes += result.nbytes
        while self._bytes > self._most:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.nbytes


memory = Memory()


@contextmanager
def recalled(metric: str) -> Iterator[None]:
    """While `metric` scores: what it computes of an image alone is recalled."""
    if metric not in SINGLE_IMAGE:
        yield
        return
    module_name, name = SINGLE_IMAGE[metric]
    module = importlib.import_module(module_name)
    with replaced(module, name, memory.recalling(getattr(module, name))):
        yield


def _content(value: Any) -> Hashable:
    """A name that only equal values share."""
    if not isinstance(value, Tensor):
        return value  # type: ignore[no-any-return]
    content = hashlib.sha256(value.detach().contiguous().numpy().data).digest()
    return tuple(value.shape), value.dtype, content
