"""CAM_METHODS: what makes a map of a stage's activations and of the gradients of one output with respect to them.

Each row is the formula of its paper as pytorch-grad-cam computes it, for a batch, on whatever device the tensors are.
This module does not know where activations come from.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class CamMethod:
    """A row of CAM_METHODS.

    ``weigh`` is (activations, gradients), both (b, c_n, h_n, w_n), → a map (b, h_n, w_n) that may be negative: `cam`
    applies the ReLU. ``of_class`` says whether the map depends on the class at all.
    """

    title: str
    source: str
    weigh: Callable[[Tensor, Tensor], Tensor]
    of_class: bool = True


def _combined(alpha: Tensor, activations: Tensor) -> Tensor:
    """Return Σ_k α_k A_k, with one weight for each channel, (b, c_n)."""
    return torch.einsum("bk,bkhw->bhw", alpha, activations)


def gradcam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Return Σ_k α_k A_k, where α_k is the mean gradient over all positions."""
    alpha = gradients.mean(dim=(2, 3))  # Eq. 1 of Grad-CAM
    return _combined(alpha, activations)  # Eq. 2, before its ReLU


def gradcam_plus_plus(activations: Tensor, gradients: Tensor) -> Tensor:
    """Return Σ_k w_k A_k, where w_k = Σ_ij α_ij · relu(g_ij): positions whose gradient is positive, weighed by α.

    As in the library, 1e-6 keeps the divisor of α from 0. It is not small beside the squares of small gradients, so
    that the map depends on the scale of the output.
    """
    squares = gradients**2
    total = activations.sum(dim=(2, 3), keepdim=True)
    alpha = squares / (2 * squares + total * squares * gradients + 1e-6)  # Eq. 19 of Grad-CAM++
    return _combined((alpha * gradients.relu()).sum(dim=(2, 3)), activations)


def xgradcam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Return Σ_k w_k A_k, where w_k is the mean gradient weighed by each position's share of the activation.

    A channel whose activations cancel out, as those of a linear bottleneck can, gets a weight of any size.
    """
    total = activations.sum(dim=(2, 3), keepdim=True)
    return _combined((gradients * activations / (total + 1e-7)).sum(dim=(2, 3)), activations)


def layercam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Return Σ_k relu(g_k) · A_k, position by position."""
    return torch.einsum("bkhw,bkhw->bhw", gradients.relu(), activations)


def hirescam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Return Σ_k g_k · A_k, position by position."""
    return torch.einsum("bkhw,bkhw->bhw", gradients, activations)


def eigencam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Return the activations' first principal component over positions; neither class nor gradients matter.

    A component has no sign of its own, and the library's EigenCAM shows whichever half its decomposition happens to
    make positive. Here the value farthest from 0 is positive (Eq. 13 of Seg-Eigen-CAM, which the library has too), so
    that a map is the same on every machine.
    """
    positions = activations.flatten(2).transpose(1, 2)
    centred = positions - positions.mean(dim=1, keepdim=True)
    u, s, _ = torch.linalg.svd(centred, full_matrices=False)
    values = u[:, :, 0] * s[:, :1]
    upside_down = values.amin(dim=1).abs() > values.amax(dim=1).abs()
    signed = torch.where(upside_down[:, None], -values, values)
    return signed.unflatten(1, activations.shape[2:])


CAM_METHODS: dict[str, CamMethod] = {
    "gradcam": CamMethod("Grad-CAM", "Selvaraju et al., ICCV 2017", gradcam),
    "gradcam_plus_plus": CamMethod("Grad-CAM++", "Chattopadhay et al., WACV 2018", gradcam_plus_plus),
    "xgradcam": CamMethod("XGrad-CAM", "Fu et al., BMVC 2020", xgradcam),
    "layercam": CamMethod("LayerCAM", "Jiang et al., IEEE TIP 2021", layercam),
    "hirescam": CamMethod("HiResCAM", "Draelos and Carin, 2020", hirescam),
    "eigencam": CamMethod("Eigen-CAM", "Muhammad and Yeasin, IJCNN 2020", eigencam, of_class=False),
}
