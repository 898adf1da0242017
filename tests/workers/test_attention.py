"""Every way of attention gives the same numbers; which one is taken follows from the device, the shape and numerics."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.utils.flop_counter import FlopCounterMode

from workers.models import attention
from workers.models.attention import blocked, fastest, fused, plain, way, window_attention

WAYS = [plain, fused, blocked]


def inputs(windows: int = 7, heads: int = 3, width: int = 5, tokens: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    """Windows of four kinds in float64; half of the tokens of the last kind see the other half not."""
    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(windows, tokens, 3 * heads * width, generator=generator, dtype=torch.float64)
    bias = torch.randn(4, heads, tokens, tokens, generator=generator, dtype=torch.float64)
    half = torch.arange(tokens) < tokens // 2
    bias[3].masked_fill_(half[:, None] != half, -torch.inf)
    return qkv.requires_grad_(), bias.requires_grad_(), torch.arange(windows) % 4


def one_by_one(qkv: Tensor, bias: Tensor, kinds: Tensor) -> Tensor:
    """The formula, written for one query at a time."""
    heads, width = bias.shape[1], qkv.shape[2] // 3 // bias.shape[1]
    out = torch.zeros(*qkv.shape[:2], heads * width, dtype=qkv.dtype)
    for window, kind in enumerate(kinds.tolist()):
        q, k, v = qkv.detach()[window].chunk(3, 1)
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            for query in range(qkv.shape[1]):
                weights = (k[:, part] @ q[query, part] / width**0.5 + bias.detach()[kind, head, query]).exp()
                out[window, query, part] = weights @ v[:, part] / weights.sum()
    return out


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two windows each, so that seven of them end in a block that is not full."""
    monkeypatch.setattr(attention, "BLOCK", 2 * 3 * 16**2)
    monkeypatch.setattr(attention, "_CHOSEN", {})
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("tried", WAYS)
def test_equals_the_formula(tried: attention.Way) -> None:
    torch.testing.assert_close(tried(*inputs()), one_by_one(*inputs()), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("tried", WAYS)
def test_gradients_equal_finite_differences(tried: attention.Way) -> None:
    qkv, bias, kinds = inputs(windows=5, heads=2, width=3, tokens=4)
    finite = bias.detach().clamp(min=-5).requires_grad_()
    assert gradcheck(lambda *given: tried(*given, kinds), (qkv, finite))


def test_gradients_of_what_is_masked_are_zero_and_the_same_every_way() -> None:
    found = []
    for tried in WAYS:
        qkv, bias, kinds = inputs()
        weights = torch.randn(7, 16, 15, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        found.append(torch.autograd.grad((tried(qkv, bias, kinds) * weights).sum(), (qkv, bias)))
        assert torch.equal(found[-1][1][bias.isinf()], torch.zeros_like(bias[bias.isinf()]))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-11, atol=1e-12)


def test_nothing_is_kept_without_gradient_and_bits_stay() -> None:
    qkv, bias, kinds = inputs()
    with torch.inference_mode():
        without = blocked(qkv, bias, kinds)
    attended = blocked(qkv, bias, kinds)
    assert torch.equal(without, attended)
    assert attended.grad_fn is not None
    assert not without.requires_grad


def test_operations_are_counted() -> None:
    counts = []
    for tried in (plain, blocked):
        qkv, bias, kinds = inputs()
        with FlopCounterMode(display=False) as counter:
            tried(qkv, bias, kinds).sum().backward()
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize(("width", "expected"), [(10, blocked), (30, blocked), (16, plain), (32, plain)])
@pytest.mark.parametrize("deterministic", [True, False])
def test_on_a_cpu_the_shape_decides(width: int, expected: attention.Way, deterministic: bool) -> None:
    torch.use_deterministic_algorithms(deterministic)
    given = inputs(windows=2, heads=2, width=width, tokens=4)
    assert way(*given) is expected
    torch.testing.assert_close(window_attention(*given), one_by_one(*given))


@pytest.mark.parametrize(("deterministic", "ways"), [(True, [plain]), (False, [plain, fused])])
def test_elsewhere_numerics_and_measurement_decide(deterministic: bool, ways: list[attention.Way]) -> None:
    torch.use_deterministic_algorithms(deterministic)
    given = [tensor.to("meta") for tensor in inputs()]
    assert way(*given) in ways


def test_the_fastest_is_measured_once() -> None:
    tried: list[str] = []

    def quick(qkv: Tensor, bias: Tensor, kinds: Tensor) -> Tensor:
        tried.append("quick")
        return qkv * bias.sum().nan_to_num()

    def slow(qkv: Tensor, bias: Tensor, kinds: Tensor) -> Tensor:
        tried.append("slow")
        for _ in range(50):
            qkv = qkv + 1
        return qkv * bias.sum().nan_to_num()

    given = inputs(windows=2)
    with torch.no_grad():
        assert fastest((slow, quick), *given) is quick
    assert set(tried) == {"quick", "slow"}
    count = len(tried)
    assert fastest((slow, quick), *given) is quick
    assert len(tried) == count


def test_weights_of_another_type_are_cast() -> None:
    qkv, bias, kinds = inputs()
    assert window_attention(qkv.bfloat16(), bias.float(), kinds).dtype == torch.bfloat16
