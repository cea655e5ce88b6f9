"""CAM_METHODS: the methods for class activation maps, each with its paper.

Six of them are formulas of a stage's activations and gradients, the same as in pytorch-grad-cam; one forward and one
backward pass serve a batch and all stages. The others are classes of pytorch-grad-cam, one image and one stage at a
time (`pmsi.explain.adapter`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pmsi.explain.adapter import PackageCam, PackageMethod, RefineCam, SessCam, Whole, finer_score, fixed_sign

Formula = Callable[[Tensor, Tensor], Tensor]
"""(activations, gradients), both (b, c_n, h_n, w_n) → a map (b, h_n, w_n) of either sign."""


@dataclass(frozen=True)
class CamMethod:
    """A row of CAM_METHODS: its title, its paper, and either a formula or a class of pytorch-grad-cam.

    Both give maps of either sign; `cam` applies the ReLU. ``package`` takes at least one pass per stage and image.
    ``of_class`` says whether the map depends on the class.
    """

    title: str
    source: str
    formula: Formula | None = None
    of_class: bool = True
    package: PackageMethod | None = None


def _combined(alpha: Tensor, activations: Tensor) -> Tensor:
    """Return Σ_k α_k A_k, with one weight for each channel, (b, c_n)."""
    return torch.einsum("bk,bkhw->bhw", alpha, activations)


def gradcam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Return Σ_k α_k A_k, where α_k is the mean gradient over all positions."""
    alpha = gradients.mean(dim=(2, 3))  # Eq. 1 of Grad-CAM
    return _combined(alpha, activations)  # Eq. 2, before its ReLU


def gradcam_plus_plus(activations: Tensor, gradients: Tensor) -> Tensor:
    """Return Σ_k w_k A_k, where w_k = Σ_ij α_ij · relu(g_ij).

    The 1e-6 in the divisor of α is that of pytorch-grad-cam. It is not small beside the squares of small gradients, so
    the map depends on the scale of the output.
    """
    squares = gradients**2
    total = activations.sum(dim=(2, 3), keepdim=True)
    alpha = squares / (2 * squares + total * squares * gradients + 1e-6)  # Eq. 19 of Grad-CAM++
    return _combined((alpha * gradients.relu()).sum(dim=(2, 3)), activations)


def xgradcam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Return Σ_k w_k A_k, where w_k is the mean gradient, weighted by each position's share of the activation.

    If a channel's activations sum to about 0, as they can after a linear bottleneck, its weight can be very large.
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
    """Return the activations' first principal component over positions; class and gradients are not used.

    The sign of a component is arbitrary, and pytorch-grad-cam's EigenCAM keeps the one that its SVD returns. Here the
    value farthest from 0 is positive (Eq. 13 of Seg-Eigen-CAM), so maps are the same on every machine.
    """
    positions = activations.flatten(2).transpose(1, 2)
    centred = positions - positions.mean(dim=1, keepdim=True)
    u, s, _ = torch.linalg.svd(centred, full_matrices=False)
    values = u[:, :, 0] * s[:, :1]
    upside_down = values.amin(dim=1).abs() > values.amax(dim=1).abs()
    signed = torch.where(upside_down[:, None], -values, values)
    return signed.unflatten(1, activations.shape[2:])


CAM_METHODS: dict[str, CamMethod] = {
    "gradcam": CamMethod("Grad-CAM", "Selvaraju et al., ICCV 2017, Eq. 1 and 2", gradcam),
    "gradcam_plus_plus": CamMethod("Grad-CAM++", "Chattopadhay et al., WACV 2018, Eq. 19", gradcam_plus_plus),
    "xgradcam": CamMethod("XGrad-CAM", "Fu et al., BMVC 2020", xgradcam),
    "layercam": CamMethod("LayerCAM", "Jiang et al., IEEE TIP 2021", layercam),
    "hirescam": CamMethod("HiResCAM", "Draelos and Carin, arXiv 2011.08891", hirescam),
    "eigencam": CamMethod("Eigen-CAM", "Muhammad and Yeasin, IJCNN 2020", eigencam, of_class=False),
    "gradcam_elementwise": CamMethod(
        "Grad-CAM, element-wise", "pytorch-grad-cam: Σ_k relu(g_k · A_k)", package=PackageCam("GradCAMElementWise")
    ),
    "eigengradcam": CamMethod(
        "Eigen-Grad-CAM",
        "pytorch-grad-cam: Eigen-CAM of g_k · A_k (Muhammad and Yeasin, IJCNN 2020)",
        package=PackageCam("EigenGradCAM", after=fixed_sign),
    ),
    "segeigencam": CamMethod(
        "Seg-Eigen-CAM", "Chung and Ying, Applied Sciences 15(13), 2025, Eq. 10–13", package=PackageCam("SegEigenCAM")
    ),
    "kpcacam": CamMethod(
        "KPCA-CAM", "Karmani et al., arXiv 2410.00267", package=PackageCam("KPCA_CAM"), of_class=False
    ),
    "fem": CamMethod("FEM", "Fuad et al., IPTA 2020", package=PackageCam("FEM"), of_class=False),
    "shapleycam": CamMethod("ShapleyCAM", "Cai, arXiv 2501.06261", package=PackageCam("ShapleyCAM")),
    "finercam": CamMethod("Finer-CAM", "Zhang et al., CVPR 2025", package=PackageCam("GradCAM", score=finer_score)),
    "refinecam": CamMethod("RefineCAM", "arXiv 2605.14641", package=RefineCam()),
    "ablationcam": CamMethod(
        "Ablation-CAM", "Desai and Ramaswamy, WACV 2020", package=PackageCam("AblationCAM", per_channel=True)
    ),
    "scorecam": CamMethod(
        "Score-CAM", "Wang et al., CVPR Workshops 2020", package=PackageCam("ScoreCAM", form=Whole, per_channel=True)
    ),
    "sess": CamMethod("SESS of Grad-CAM", "Tursun et al., IJCAI 2022", package=SessCam()),
}
# Not included of pytorch-grad-cam 1.5.7:
# FullGrad: it has no stage, but adds up all layers with a bias, and fails if the output does not depend on one of them.
# RandomCAM: it draws from numpy's global generator; our baselines have random maps with a seed.
# AblationLayerVit, AblationLayerFasterRCNN: for transformers and detectors.
# GuidedBackpropReLUModel, DeepFeatureFactorization: a gradient in pixels, and concepts; no map of a class.
