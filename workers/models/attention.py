"""Attention within windows, by the way that is fastest where it runs.

On a CPU: blocks of windows whose logits stay in the cache, and tokens in the last dimension of every matrix. A head of
light SwinIR is 10 channels wide; products that yield T x 10 ran at a sixth of the speed of those that yield 10 x T.
On a GPU: plain operations under deterministic numerics, else those or the fused kernel, whichever a measurement finds.

Letters in the shapes: B windows, T tokens of a window, H heads, D channels of a head, K kinds of window.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK = 2**17
"""Logits of a block, measured on SwinIR light: 512 KiB in float32, half of a core's second cache."""

LANES = 16
"""Float32 numbers in a register of AVX-512: heads of so many channels gain nothing from lying the other way round."""

Way = Callable[[Tensor, Tensor, Tensor], Tensor]


def window_attention(qkv: Tensor, bias: Tensor, kinds: Tensor) -> Tensor:
    """softmax(q k' / sqrt(D) + bias) v in each window, B x T x HD.

    `qkv` is B x T x 3HD (queries, keys, values; each head by head), `bias` K x H x T x T with -inf where a token must
    not see another, and `kinds` (B,) says which of the K each window takes. Gradient reaches qkv and bias.
    """
    bias = bias.to(qkv.dtype)  # of float32 weights, under autocast
    return way(qkv, bias, kinds)(qkv, bias, kinds)


def way(qkv: Tensor, bias: Tensor, kinds: Tensor) -> Way:
    """The one that `window_attention` takes. On a CPU it follows from the shape alone, so that bits are the same on
    every run."""
    if qkv.device.type == "cpu":
        return plain if qkv.shape[2] // 3 // bias.shape[1] % LANES == 0 else blocked
    if torch.are_deterministic_algorithms_enabled():
        return plain
    return fastest((plain, fused), qkv, bias, kinds)


# ------------------------------------------------------------------------------------------------------- ways


def plain(qkv: Tensor, bias: Tensor, kinds: Tensor) -> Tensor:
    """As it is written in the paper."""
    q, k, v = _heads(qkv, bias.shape[1])
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(2, 3) + _of_windows(bias, kinds)
    attended: Tensor = (logits.softmax(-1) @ v).transpose(1, 2).flatten(2)
    return attended


def fused(qkv: Tensor, bias: Tensor, kinds: Tensor) -> Tensor:
    """One kernel of torch."""
    q, k, v = _heads(qkv, bias.shape[1])
    return F.scaled_dot_product_attention(q, k, v, attn_mask=_of_windows(bias, kinds)).transpose(1, 2).flatten(2)


def blocked(qkv: Tensor, bias: Tensor, kinds: Tensor) -> Tensor:
    """A block of windows at a time, see the head of this file."""
    attended: Tensor = _Blocked.apply(qkv, bias, kinds)  # type: ignore[no-untyped-call, unused-ignore]
    return attended


class _Blocked(torch.autograd.Function):
    """In each block q, k, v are D x T and P, the softmax, is T x T, queries by keys: then out = v P' and, with g the
    gradient of out, dv = g P, dP = g' v, dq = k dS', dk = q dS all yield rows of T numbers."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, bias: Tensor, kinds: Tensor) -> Tensor:
        heads, tokens = bias.shape[1:3]
        out = qkv.new_empty(*qkv.shape[:2], qkv.shape[2] // 3)
        kept = []
        for block in _blocks(len(qkv), heads * tokens**2):
            q, k, v = _transposed(qkv[block], 3, heads)
            logits = bias.index_select(0, kinds[block]).view(-1, tokens, tokens)
            # In place, by `out`: the method would not be counted by FlopCounterMode.
            p = torch.baddbmm(logits, q.transpose(1, 2), k, alpha=q.shape[1] ** -0.5, out=logits).softmax(-1)
            _write(out[block], torch.bmm(v, p.transpose(1, 2))[None], heads)
            if any(ctx.needs_input_grad):
                kept.append(p)
        ctx.save_for_backward(qkv, bias, kinds, *kept)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        qkv, bias, kinds, *kept = ctx.saved_tensors
        heads, tokens = bias.shape[1:3]
        grad_qkv, grad_bias = torch.empty_like(qkv), torch.zeros_like(bias)
        for block, p in zip(_blocks(len(qkv), heads * tokens**2), kept, strict=True):
            q, k, v = _transposed(qkv[block], 3, heads)
            (g,) = _transposed(grad[block], 1, heads)
            ds = torch._softmax_backward_data(torch.bmm(g.transpose(1, 2), v), p, -1, p.dtype)
            grads, scale = q.new_empty(3, *q.shape), q.shape[1] ** -0.5
            torch.baddbmm(q, k, ds.transpose(1, 2), beta=0, alpha=scale, out=grads[0])
            torch.baddbmm(q, q, ds, beta=0, alpha=scale, out=grads[1])
            torch.bmm(g, p, out=grads[2])
            _write(grad_qkv[block], grads, heads)
            grad_bias.index_add_(0, kinds[block], ds.view(-1, heads, tokens, tokens))
        return grad_qkv, grad_bias, None


def _blocks(windows: int, logits: int) -> list[slice]:
    """Consecutive windows, of so many logits each."""
    size = max(1, BLOCK // logits)
    return [slice(start, start + size) for start in range(0, windows, size)]


def _of_windows(bias: Tensor, kinds: Tensor) -> Tensor:
    """Of each window, B x H x T x T; of all at once (1 x H x T x T) where there is one kind."""
    return bias if len(bias) == 1 else bias.index_select(0, kinds)


def _heads(qkv: Tensor, heads: int) -> tuple[Tensor, ...]:
    """q, k, v, each B x H x T x D."""
    windows, tokens, _ = qkv.shape
    return qkv.view(windows, tokens, 3, heads, -1).permute(2, 0, 3, 1, 4).unbind()


def _transposed(x: Tensor, parts: int, heads: int) -> Tensor:
    """B x T x (parts H D) to parts x BH x D x T, contiguous."""
    windows, tokens, _ = x.shape
    return x.view(windows, tokens, parts, heads, -1).permute(2, 0, 3, 4, 1).reshape(parts, windows * heads, -1, tokens)


def _write(target: Tensor, parts: Tensor, heads: int) -> None:
    """Undoes `_transposed`, into `target`."""
    windows, tokens, _ = target.shape
    grid = parts.view(len(parts), windows, heads, -1, tokens)
    target.view(windows, tokens, len(parts), heads, -1).copy_(grid.permute(1, 4, 0, 2, 3))


# ------------------------------------------------------------------------------------------------------ choice

_CHOSEN: dict[tuple[Any, ...], Way] = {}


def fastest(ways: tuple[Way, ...], qkv: Tensor, bias: Tensor, kinds: Tensor) -> Way:
    """The one of `ways` with the fastest forward and backward pass for tensors like these; measured once a process for
    each device, type, and shape of a window. Results may then differ in their last bits from process to process."""
    key = (ways, qkv.device, qkv.dtype, qkv.shape[1:], bias.shape[1])
    if key not in _CHOSEN:
        _CHOSEN[key] = min(ways, key=lambda found: _seconds(found, qkv, bias, kinds))
    return _CHOSEN[key]


@torch.enable_grad()
def _seconds(tried: Way, qkv: Tensor, bias: Tensor, kinds: Tensor, warm: int = 2, runs: int = 5) -> float:
    """Of `runs` forward and backward passes, after `warm` that do not count."""
    inputs = qkv.detach().requires_grad_(), bias.detach().requires_grad_()
    started = 0.0
    for run in range(warm + runs):
        if run == warm:
            _wait(qkv)
            started = time.perf_counter()
        torch.autograd.grad(tried(*inputs, kinds).sum(), inputs)
    _wait(qkv)
    return time.perf_counter() - started


def _wait(tensor: Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
