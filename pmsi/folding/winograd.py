"""The largest value of a 3×3 convolution in each channel, by a quarter of the multiplications, on a CPU.

Winograd's minimal filtering F(4×4, 3×3) (Lavin and Gray, 2016, arXiv:1509.09308): 4×4 outputs from 6×6 inputs by 36
products for each pair of channels instead of 144. Here only the maximum over all places is asked for, so nothing is
put back in its place, and tiles may overlap. It rounds otherwise than the plain sum, by up to 1e-5 of the largest
value. This module knows no layers; its products are an operator of oneDNN's that is no public one.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

OUT, IN = 4, 6
"""Sides of a tile: of its outputs, and of the inputs that they depend on."""

ENOUGH, AT_ONCE = 16, 400
"""Tiles from which on it is worth reading the larger weights, and those transformed at once, to stay in the cache."""

# The matrices of section 4.3: interpolation at 0, 1, −1, 2, −2 and ∞.
B_T = [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
       [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]]  # fmt: skip
G = [[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6],
     [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]]  # fmt: skip
A_T = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]


def _in_two_directions(matrix: Sequence[Sequence[float]]) -> Tensor:
    return torch.kron(torch.tensor(matrix, dtype=torch.float64), torch.tensor(matrix, dtype=torch.float64)).float()


FROM_TILES, TO_OUTPUTS = _in_two_directions(B_T), _in_two_directions(A_T)  # (36, 36), (16, 36)


def transformed(weight: Tensor) -> Tensor:
    """Return the weights of a 3×3 convolution, (c, h, 3, 3), as (36, c, h): G g Gᵀ, for `peaks`."""
    g = torch.tensor(G, dtype=torch.float64, device=weight.device)
    return torch.einsum("ai,bj,chij->abch", g, g, weight.double()).flatten(0, 1).to(weight.dtype).contiguous()


def fits(x: Tensor) -> bool:
    """Whether this is the sooner way for maps (b, h, y, x)."""
    height, width = x.shape[2:]
    return min(height, width) >= OUT and len(x) * -(-height // OUT) * -(-width // OUT) >= ENOUGH


def peaks(x: Tensor, weights: Tensor) -> Tensor:
    """Return conv(x).amax(dim=(2, 3)) for padding 1 and no bias, (b, h, y, x) → (b, c); ``weights`` as transformed."""
    framed = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    rows, columns = (_starts(side, x.device) for side in x.shape[2:])
    together = max(1, AT_ONCE // (len(rows) * len(columns)))
    return torch.cat([_peaks(part, rows, columns, weights) for part in framed.split(together)])


def _starts(side: int, device: torch.device) -> Tensor:
    """Return where tiles begin; the last is moved back to end with the map, over the one before it."""
    return torch.arange(0, side, OUT, device=device).clamp(max=side - OUT)


def _peaks(framed: Tensor, rows: Tensor, columns: Tensor, weights: Tensor) -> Tensor:
    b, inside = len(framed), torch.arange(IN)
    image = torch.arange(b)[:, None, None]
    at_row, at_column = inside[:, None, None, None, None] + rows[:, None], inside[:, None, None, None] + columns
    tiles = framed[image, at_row, at_column]  # (6, 6, b, rows, columns, h)
    products = (FROM_TILES @ tiles.flatten(2).flatten(0, 1)).view(IN * IN, -1, tiles.shape[-1])
    multiply = torch.ops.mkldnn._linear_pointwise  # torch's own product is half as fast on some processors
    sums = torch.stack([multiply(v, u, None, "none", [], "") for v, u in zip(products, weights, strict=True)])
    outputs = TO_OUTPUTS @ sums.flatten(1)
    return outputs.view(OUT * OUT, b, -1, sums.shape[-1]).amax(dim=0).amax(dim=1)  # both axes at once take far longer
