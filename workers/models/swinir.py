"""SwinIR, the generator (Liang et al., arXiv 2108.10257), in the layout of the official weights.

Own code: attention (workers/models/attention.py) is written so that one CPU thread trains it fast, and every image size
is served by one small mask. Two facts carry it. Everything but attention is per token, so tokens stay N H W C and
convolutions see them as channels_last, without copies. And in a cyclically shifted image only the last row and the last
column of windows mix tokens that were far apart, so four masks (inside, last column, last row, corner) make up the mask
of any size.

Letters in the shapes: N images, H and W padded low-resolution pixels, C channels, B windows of all images, T tokens of
a window (its side squared), K kinds of window (the four above).
"""

import functools
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orchestrator import spec
from workers.models.attention import window_attention

RGB_MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K; official SwinIR subtracts it
UPSAMPLE_CHANNELS = 64  # official `num_feat` of the pixelshuffle upsampler
LEAK = 0.2  # official slope of the nearest+conv upsampler and of the 3conv residual connection
MASKED = -100.0  # official logit of a pair of tokens that must not see each other


class SwinIR(nn.Module):
    """Super-resolution by `scale` (a power of two, or 3).

    `forward` takes N3HW RGB in [0, 1] of any H and W and returns N x 3 x scale*H x scale*W, not clipped. A state dict
    of the official code, trained at any image size, loads with strict=True: its masks, constants of that size, must be
    the official ones and are not taken over, nor is its index of relative positions.
    """

    mean: Tensor

    def __init__(self, scale: int, settings: spec.SwinIR) -> None:
        """Raises ValueError for settings that do not fit each other."""
        super().__init__()
        _check(scale, settings)
        channels, self.scale, self.window = settings.channels, scale, settings.window
        self.upsampler = settings.upsampler
        self.register_buffer("mean", torch.tensor(RGB_MEAN).view(1, 3, 1, 1), persistent=False)
        self.conv_first = nn.Conv2d(3, channels, 3, padding=1)
        self.patch_embed = nn.ModuleDict({"norm": nn.LayerNorm(channels)})
        self.layers = nn.ModuleList(
            ResidualGroup(channels, depth, heads, settings)
            for depth, heads in zip(settings.depths, settings.heads, strict=True)
        )
        self.norm = nn.LayerNorm(channels)
        self.conv_after_body = _residual_conv(channels, settings.residual)
        self._add_upsampler(channels)
        self.apply(_initialize)
        self.register_load_state_dict_pre_hook(_keep_own_constants)  # type: ignore[no-untyped-call]

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        height, width = image.shape[2:]
        shallow = self.conv_first(_pad(image - self.mean, self.window).contiguous(memory_format=torch.channels_last))
        tokens = self.patch_embed["norm"](shallow.permute(0, 2, 3, 1))
        for layer in self.layers:
            tokens = layer(tokens)
        deep = self.conv_after_body(self.norm(tokens).permute(0, 3, 1, 2)) + shallow
        if self.upsampler == "pixelshuffledirect":
            restored: Tensor = self.upsample(deep)
        else:
            restored = self.conv_last(self._enlarge(self.conv_before_upsample(deep)))
        return restored[:, :, : height * self.scale, : width * self.scale] + self.mean

    def _add_upsampler(self, channels: int) -> None:
        if self.upsampler == "pixelshuffledirect":
            one_step = nn.Conv2d(channels, 3 * self.scale**2, 3, padding=1)
            self.upsample = nn.Sequential(one_step, nn.PixelShuffle(self.scale))
            return
        before = nn.Conv2d(channels, UPSAMPLE_CHANNELS, 3, padding=1)
        self.conv_before_upsample = nn.Sequential(before, nn.LeakyReLU())
        if self.upsampler == "pixelshuffle":
            self.upsample = _pixel_shuffles(self.scale)
        else:
            for name in (*self._doublings(), "conv_hr"):
                self.add_module(name, nn.Conv2d(UPSAMPLE_CHANNELS, UPSAMPLE_CHANNELS, 3, padding=1))
        self.conv_last = nn.Conv2d(UPSAMPLE_CHANNELS, 3, 3, padding=1)

    def _enlarge(self, features: Tensor) -> Tensor:
        """By `scale`, at UPSAMPLE_CHANNELS."""
        if self.upsampler == "pixelshuffle":
            enlarged: Tensor = self.upsample(features)
            return enlarged
        for name in self._doublings():
            wide = F.interpolate(features, scale_factor=2, mode="nearest")
            features = F.leaky_relu(self.get_submodule(name)(wide), LEAK)
        return F.leaky_relu(self.get_submodule("conv_hr")(features), LEAK)

    def _doublings(self) -> list[str]:
        """Official names of the convolutions behind each nearest-neighbour doubling."""
        return [f"conv_up{i}" for i in range(1, self.scale.bit_length())]


class ResidualGroup(nn.Module):
    """Official RSTB: Transformer blocks, every second one with shifted windows, a convolution, and a skip."""

    def __init__(self, channels: int, depth: int, heads: int, settings: spec.SwinIR) -> None:
        super().__init__()
        window, mlp_ratio = settings.window, settings.mlp_ratio
        blocks = nn.ModuleList(
            Block(channels, heads, window, shift=window // 2 * (i % 2), mlp_ratio=mlp_ratio) for i in range(depth)
        )
        self.residual_group = nn.ModuleDict({"blocks": blocks})
        self.conv = _residual_conv(channels, settings.residual)

    def forward(self, x_NHWC: Tensor) -> Tensor:
        """Same shape out."""
        deep_NHWC = x_NHWC
        for block in self.residual_group["blocks"]:  # type: ignore[attr-defined]
            deep_NHWC = block(deep_NHWC)
        deep_NCHW: Tensor = self.conv(deep_NHWC.permute(0, 3, 1, 2))
        return x_NHWC + deep_NCHW.permute(0, 2, 3, 1)


class Block(nn.Module):
    """Attention in windows, shifted by `shift` pixels, then an MLP; each behind a norm and beside a skip."""

    attn_mask: Tensor | None

    def __init__(self, channels: int, heads: int, window: int, shift: int, mlp_ratio: float) -> None:
        super().__init__()
        hidden = int(channels * mlp_ratio)
        self.window, self.shift = window, shift
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, heads, window)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(channels, hidden), "fc2": nn.Linear(hidden, channels)})
        self.register_buffer("attn_mask", _mask(window, shift) if shift else None)

    def forward(self, x_NHWC: Tensor) -> Tensor:
        """Same shape out. H and W are multiples of the window."""
        x_NHWC = x_NHWC + self._attend(self.norm1(x_NHWC))
        mixed_NHWC: Tensor = self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x_NHWC))))
        return x_NHWC + mixed_NHWC

    def _attend(self, x_NHWC: Tensor) -> Tensor:
        images, height, width, _ = x_NHWC.shape
        kinds = _kinds(images, height // self.window, width // self.window, bool(self.shift), x_NHWC.device)
        if self.attn_mask is None:
            return _merge(self.attn(_split(x_NHWC, self.window), kinds), x_NHWC.shape, self.window)
        # The exponential of -100 is a denormal number, slow on a CPU; to a sum it adds nothing, as that of -inf.
        mask = self.attn_mask.masked_fill(self.attn_mask == MASKED, -math.inf)
        shifted = torch.roll(x_NHWC, (-self.shift, -self.shift), (1, 2))
        attended = _merge(self.attn(_split(shifted, self.window), kinds, mask), x_NHWC.shape, self.window)
        return torch.roll(attended, (self.shift, self.shift), (1, 2))


class WindowAttention(nn.Module):
    """Multi-head self-attention within windows, with a learned bias for each relative position."""

    relative_position_index: Tensor

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        self.register_buffer("relative_position_index", _relative_positions(window))
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, x_BTC: Tensor, kinds: Tensor, mask: Tensor | None = None) -> Tensor:
        """Same shape out; `mask` (K x T x T) is added to the logits, of each window that of its kind (B,)."""
        bias = F.embedding(self.relative_position_index, self.relative_position_bias_table).permute(2, 0, 1)[None]
        if mask is not None:
            bias = bias + mask[:, None]
        projected: Tensor = self.proj(window_attention(self.qkv(x_BTC), bias, kinds))
        return projected


def _split(x_NHWC: Tensor, window: int) -> Tensor:
    """Windows in row order: B x T x C, the windows of one image after those of another."""
    images, height, width, channels = x_NHWC.shape
    grid = x_NHWC.view(images, height // window, window, width // window, window, channels)
    return grid.transpose(2, 3).reshape(-1, window**2, channels)


def _merge(x_BTC: Tensor, shape: torch.Size, window: int) -> Tensor:
    """Undoes `_split`: N x H x W x C of the given shape."""
    images, height, width, channels = shape
    grid = x_BTC.view(images, height // window, width // window, window, window, channels)
    return grid.transpose(2, 3).reshape(shape)


def _mask(window: int, shift: int) -> Tensor:
    """K x T x T: 0, or MASKED where a shifted window holds tokens from opposite sides of the image. It is the official
    mask of an image of two by two windows."""
    side = torch.arange(2 * window)
    region = (side >= window).int() + (side >= 2 * window - shift).int()
    region_BT = _split((3 * region[:, None] + region)[None, :, :, None], window).squeeze(2)
    return (region_BT[:, :, None] != region_BT[:, None, :]) * MASKED


@functools.lru_cache(maxsize=16)
def _kinds(images: int, rows: int, columns: int, shifted: bool, device: torch.device) -> Tensor:
    """(B,): kind of each window of images of rows x columns of them: 0 inside, and where they are shifted 1 in the last
    column, 2 in the last row, 3 in the corner. Not to be changed: it is kept."""
    with torch.inference_mode(False):  # or a training that follows in the process could not use what restoring kept
        last_row, last_column = torch.arange(rows) == rows - 1, torch.arange(columns) == columns - 1
        kinds = (2 * last_row[:, None].int() + last_column.int()).flatten() * shifted
        return kinds.repeat(images).to(device)


def _relative_positions(window: int) -> Tensor:
    """T x T: row of the bias table for each pair of tokens, by their offset down and right, each from 1 - window on."""
    down, right = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    offset_down = down.reshape(-1, 1) - down.reshape(1, -1) + window - 1
    offset_right = right.reshape(-1, 1) - right.reshape(1, -1) + window - 1
    return offset_down * (2 * window - 1) + offset_right


def _residual_conv(channels: int, kind: str) -> nn.Module:
    """Official `resi_connection`: one convolution, or a bottleneck of three through a quarter of the channels."""
    if kind == "1conv":
        return nn.Conv2d(channels, channels, 3, padding=1)
    narrow = channels // 4
    return nn.Sequential(
        nn.Conv2d(channels, narrow, 3, padding=1),
        nn.LeakyReLU(LEAK),
        nn.Conv2d(narrow, narrow, 1),
        nn.LeakyReLU(LEAK),
        nn.Conv2d(narrow, channels, 3, padding=1),
    )


def _pixel_shuffles(scale: int) -> nn.Sequential:
    factors = [3] if scale == 3 else [2] * (scale.bit_length() - 1)
    steps: list[nn.Module] = []
    for factor in factors:
        steps.append(nn.Conv2d(UPSAMPLE_CHANNELS, UPSAMPLE_CHANNELS * factor**2, 3, padding=1))
        steps.append(nn.PixelShuffle(factor))
    return nn.Sequential(*steps)


def _pad(image: Tensor, window: int) -> Tensor:
    """Mirrors the bottom and right edge until H and W are multiples of `window`, however small the image is."""
    for dimension in (2, 3):
        size = image.shape[dimension]
        if -size % window:
            there_and_back = max(2 * (size - 1), 1)
            position = torch.arange(size + -size % window, device=image.device) % there_and_back
            image = image.index_select(dimension, torch.minimum(position, there_and_back - position))
    return image


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


def _keep_own_constants(model: nn.Module, state: dict[str, Any], *_: Any) -> None:
    """Official files hold the masks of their training's image size, of which ours are the four kinds, and the index of
    relative positions. Both follow from the window: they are compared, then ours stay. Raises RuntimeError, as
    load_state_dict does, where they differ."""
    for name, module in model.named_modules():
        if isinstance(module, Block) and module.attn_mask is not None:
            _keep(state, f"{name}.attn_mask", module.attn_mask, _masks_like(state, f"{name}.attn_mask", module))
        elif isinstance(module, WindowAttention):
            index = module.relative_position_index
            _keep(state, f"{name}.relative_position_index", index, index)


def _keep(state: dict[str, Any], key: str, own: Tensor, expected: Tensor) -> None:
    if key not in state:
        return  # strict loading names it
    if not torch.equal(state[key].to(expected), expected):
        raise RuntimeError(f"{key}: found other values, of shape {tuple(state[key].shape)}, than those of this window")
    state[key] = own


def _masks_like(state: dict[str, Any], key: str, block: Block) -> Tensor:
    """The masks of all windows of a square image, as many as the file has; the kinds where it has ours."""
    assert block.attn_mask is not None
    side = math.isqrt(len(state[key])) if key in state else 2
    return block.attn_mask[_kinds(1, side, side, True, block.attn_mask.device)]


def _check(scale: int, settings: spec.SwinIR) -> None:
    if scale != 3 and (scale < 2 or scale & (scale - 1)):
        raise ValueError(f"scale: found {scale}; allowed: 3 and the powers of two from 2 on")
    if scale == 3 and settings.upsampler == "nearest+conv":
        raise ValueError("scale: found 3; allowed with the upsampler nearest+conv, which doubles: powers of two")
    if len(settings.depths) != len(settings.heads):
        raise ValueError(f"heads: found {len(settings.heads)} entries; depths has {len(settings.depths)}; give as many")
    for heads in settings.heads:
        if settings.channels % heads:
            raise ValueError(f"heads: found {heads}; each must divide the {settings.channels} channels")
