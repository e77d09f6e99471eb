"""Convolutions that do less work than those that they stand for."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

WIDE = 64
"""Channels from which on `_NineProducts` are quicker than a transposed convolution on a CPU."""

AT_ONCE = 1 << 21
"""Products that `_NineProducts` holds at once: so many stay in a processor's cache."""

REACH = [[0.0, 1.0, 1.0], [1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]
"""Which of a kernel's three taps lie inside at the first place, at an inner one, at the last."""


class UpConvolution(nn.Module):
    """Nearest-neighbour doubling and a 3x3 convolution in one: the same function in less work.

    Doubling is a transposed convolution with a 2x2 kernel of ones; composed with the 3x3 kernel it
    is one with a 4x4 kernel and stride 2, which takes 16 instead of 36 products for the four output
    pixels of an input pixel and a pair of channels. `_NineProducts`, which is quicker where there
    are many channels, takes 9.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 3, 3))
        self.bias = None

    def kernel(self) -> Tensor:
        """Return the transposed convolution's kernel, (inputs, outputs, 4, 4)."""
        padded = F.pad(self.weight, (1, 1, 1, 1))
        rows = padded[:, :, 1:] + padded[:, :, :-1]
        return (rows[..., 1:] + rows[..., :-1]).transpose(0, 1).flip(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, outputs, 2h, 2w)."""
        if x.device.type == "cpu" and self.weight.shape[1] >= WIDE:
            if torch.is_autocast_enabled("cpu"):
                x = x.to(torch.get_autocast_dtype("cpu"))
            doubled: Tensor = _NineProducts.apply(x, self.weight)  # type: ignore[no-untyped-call]
            return doubled
        return F.conv_transpose2d(x, self.kernel(), stride=2, padding=1)


class _NineProducts(torch.autograd.Function):
    """Nearest-neighbour doubling and a 3x3 convolution as one matrix product and some sums.

    Each pixel is multiplied by the nine taps of the kernel. Each of its four output pixels is a sum
    of these products of it and of its neighbours. With taps a, b, c, in one dimension,

        y[2i] = a x[i-1] + b x[i] + c x[i],    y[2i + 1] = a x[i] + b x[i] + c x[i+1].
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        """Map x (B, i, h, w) and weight (o, i, 3, 3) to (B, o, 2h, 2w)."""
        count, inputs, h, w = x.shape
        o = len(weight)
        pixels = x.permute(0, 2, 3, 1).contiguous()
        taps = weight.permute(2, 3, 0, 1).reshape(9 * o, inputs).to(x.dtype)
        ctx.save_for_backward(pixels, taps)
        ctx.dtype = weight.dtype
        y = x.new_empty(count, h, 2, w, 2, o)
        at_once = max(AT_ONCE // (h * w * 9 * o), 1)
        with torch.autocast("cpu", enabled=False):
            for part, out in zip(pixels.split(at_once), y.split(at_once), strict=True):
                products = (part.flatten(0, 2) @ taps.T).view(-1, h, w, 3, 3, o)
                for i in (0, 1):
                    rows = products[:, :, :, 1] + products[:, :, :, 2 - 2 * i]
                    if i == 0:
                        rows[:, 1:] += products[:, :-1, :, 0]
                    else:
                        rows[:, :-1] += products[:, 1:, :, 2]
                    for j in (0, 1):
                        corner = out[:, :, i, :, j]
                        torch.add(rows[:, :, :, 1], rows[:, :, :, 2 - 2 * j], out=corner)
                        if j == 0:
                            corner[:, :, 1:] += rows[:, :, :-1, 0]
                        else:
                            corner[:, :, :-1] += rows[:, :, 1:, 2]
        return y.view(count, 2 * h, 2 * w, o).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the gradients of x and of the weight."""
        pixels, taps = ctx.saved_tensors
        count, h, w, inputs = pixels.shape
        o = len(taps) // 9
        of_x, of_weight = ctx.needs_input_grad
        to_x = torch.empty_like(pixels) if of_x else None
        to_taps = torch.zeros_like(taps) if of_weight else None
        y = gradient.permute(0, 2, 3, 1).contiguous().view(count, h, 2, w, 2, o)
        at_once = max(AT_ONCE // (h * w * 9 * o), 1)
        with torch.autocast("cpu", enabled=False):
            for first in range(0, count, at_once):
                part = slice(first, first + at_once)
                b = len(y[part])
                rows = _to_taps(y[part], 1, y.new_empty(b, h, 3, w, 2, o))
                products = y.new_empty(b, h, w, 3, 3, o)
                _to_taps(rows, 3, products.transpose(2, 3))
                products = products.view(-1, 9 * o)
                if to_x is not None:
                    torch.mm(products, taps, out=to_x[part].view(-1, inputs))
                if to_taps is not None:
                    to_taps.addmm_(products.T, pixels[part].flatten(0, 2))
        return (
            None if to_x is None else to_x.permute(0, 3, 1, 2),
            None
            if to_taps is None
            else to_taps.view(3, 3, o, inputs).permute(2, 3, 0, 1).to(ctx.dtype),
        )


def _to_taps(doubled: Tensor, dim: int, out: Tensor) -> Tensor:
    """Sum the gradients of doubled pixels to those of the products with three taps.

    Args:
        doubled: Of the pixels 2i and 2i + 1, (..., n, 2, ...), with n at `dim`.
        dim: See `doubled`.
        out: Takes the sums, (..., n, 3, ...), and is returned.
    """
    even, odd = doubled.unbind(dim + 1)
    before, here, after = out.unbind(dim + 1)
    inner = doubled.shape[dim] - 1
    torch.add(even, odd, out=here)
    across = before.narrow(dim, 0, inner)
    torch.add(even.narrow(dim, 1, inner), odd.narrow(dim, 0, inner), out=across)
    after.narrow(dim, 1, inner).copy_(across)
    before.select(dim, inner).copy_(odd.select(dim, inner))
    after.select(dim, 0).copy_(even.select(dim, 0))
    return out


class JoinConvolution(nn.Module):
    """3x3 convolution of features beside a vector that stands at each of their places.

    The vector is the same everywhere, so that its part of the result differs at the borders alone:
    nine products with it do for all places, and `over`, the part of the features, can be shared by
    several vectors.

    Args:
        features: Channels of the features.
        vector: Width of the vector.
        outputs: Channels of the result.
    """

    def __init__(self, features: int, vector: int, outputs: int) -> None:
        super().__init__()
        self.over = nn.Conv2d(features, outputs, 3, padding=1, bias=False)
        self.taps = nn.Parameter(torch.empty(9, vector, outputs))
        reach = torch.tensor(REACH)
        self.register_buffer("reach", torch.kron(reach, reach), persistent=False)
        self.reach: Tensor

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *others: Any) -> None:
        """Take a convolution over both, as earlier versions had it, too."""
        if (whole := state.pop(f"{prefix}weight", None)) is not None:
            features = self.over.in_channels
            state[f"{prefix}over.weight"] = whole[:, :features]
            state[f"{prefix}taps"] = whole[:, features:].flatten(2).permute(2, 1, 0)
        super()._load_from_state_dict(state, prefix, *others)

    def beside(self, over: Tensor, vector: Tensor) -> Tensor:
        """Return the whole from the part of the features (B, o, h, w) and the vector (B, v)."""
        inside = (self.reach @ self.taps.flatten(1)).view_as(self.taps)
        spread = (vector @ inside).transpose(0, 1)
        spread = spread.unflatten(1, (3, 3))
        for dim, size in ((1, over.shape[2]), (2, over.shape[3])):
            first, inner, last = spread.split(1, dim)
            shape = list(spread.shape)
            shape[dim] = size - 2
            spread = torch.cat([first, inner.expand(shape), last], dim)
        return over + spread.permute(0, 3, 1, 2)

    def forward(self, features: Tensor, vector: Tensor) -> Tensor:
        """Map features (B, f, h, w) and vectors (B, v) to (B, o, h, w)."""
        return self.beside(self.over(features), vector)
