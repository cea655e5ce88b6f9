"""The CAM classes of pytorch-grad-cam through the adapter, against the package as its documentation calls it."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from settled import STAGES, OneHead, baseline_model, images_of, pmsi_model

import pmsi.base.vision  # noqa: F401  (before pytorch_grad_cam, which imports torchvision)
from pmsi.base.errors import ConfigError
from pmsi.engine.folding import folded
from pmsi.explain import CAM_METHODS, adapter, cam, cam_seconds

NAMES = {
    "gradcam_elementwise": "GradCAMElementWise", "eigengradcam": "EigenGradCAM", "segeigencam": "SegEigenCAM",
    "kpcacam": "KPCA_CAM", "fem": "FEM", "shapleycam": "ShapleyCAM", "finercam": "FinerCAM",
    "refinecam": "RefineCAM", "ablationcam": "AblationCAM", "scorecam": "ScoreCAM", "sess": "SESS",
}  # fmt: skip
assert list(NAMES) == [name for name, row in CAM_METHODS.items() if row.package is not None]
LABELS = [1, 4]


def scaled(values):
    """Return maps (b, h, w) as the package shows them: of the images' size, from 0 to 1."""
    from pytorch_grad_cam.utils.image import scale_cam_image

    return scale_cam_image(scale_cam_image(np.maximum(values, 0), (64, 64)))


def documented(method, model, head, stage):
    """Return the package's own maps (2, 64, 64), one call for each image, on the whole model."""
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    layer, found = model.backbone.pieces[STAGES.index(stage)], []
    for image, label in zip(images_of(), LABELS, strict=True):
        explainer = getattr(pytorch_grad_cam, NAMES[method])(OneHead(model, head), [layer])
        if method == "finercam":
            found.append(explainer(image[None], None, target_idx=label)[0])
        else:
            found.append(explainer(image[None], [ClassifierOutputTarget(label)])[0])
    model.zero_grad(set_to_none=True)
    return np.stack(found)


@pytest.mark.parametrize("method", [name for name in NAMES if name not in ("refinecam", "eigengradcam")])
def test_a_map_is_that_of_the_package(method):
    """Where a linear layer follows the stage, as in the baseline, it is found too."""
    cases = [(pmsi_model(), "mix", ("S5",) if method == "sess" else ("S3", "S4", "S5"))]
    cases += [(baseline_model(), "classifier", ("S5",))] if method in ("shapleycam", "ablationcam") else []
    for model, head, stages in cases:
        found = cam(model, images_of(), head=head, classes=torch.tensor(LABELS), stages=stages, method=method)
        assert any(raw.any() for raw in found.raw.values())
        for stage, raw in found.raw.items():
            np.testing.assert_allclose(scaled(raw.numpy()), documented(method, model, head, stage), atol=2e-3)


def test_a_principal_component_is_the_package_s_with_its_largest_value_positive():
    model = pmsi_model()
    found = cam(model, images_of(), classes=torch.tensor(LABELS), method="eigengradcam")
    gradients, activations = {}, {}
    hooks = []
    for stage in found.stages:
        layer = model.backbone.pieces[STAGES.index(stage)]

        def keep(_layer, _images, output, stage=stage):
            activations[stage] = output.detach()
            output.register_hook(lambda gradient: gradients.update({stage: gradient}))

        hooks.append(layer.register_forward_hook(keep))
    model(images_of())["mix"].gather(1, torch.tensor(LABELS)[:, None]).sum().backward()
    model.zero_grad(set_to_none=True)
    for hook in hooks:
        hook.remove()
    for stage, raw in found.raw.items():
        product = (gradients[stage] * activations[stage]).flatten(2)
        for i, one in enumerate(product):
            u, s, _ = torch.linalg.svd(one.T - one.T.mean(dim=0), full_matrices=False)
            expected = (u[:, 0] * s[0]).unflatten(0, raw.shape[1:])
            expected = expected if expected.max() >= -expected.min() else -expected
            torch.testing.assert_close(raw[i], expected.relu(), rtol=0, atol=1e-3 * float(expected.abs().max()))


def test_refinecam_is_the_product_of_the_grad_cam_plus_plus_maps_from_the_stage_on():
    import cv2

    model, images = pmsi_model(), images_of()
    found = cam(model, images, classes=torch.tensor(LABELS), method="refinecam").raw
    single = cam(model, images, classes=torch.tensor(LABELS), method="gradcam_plus_plus").raw

    def unit(values):
        return (values - values.min()) / (values.max() - values.min())

    for i in range(2):
        for n, stage in enumerate(("S3", "S4", "S5")):
            side = found[stage].shape[-1]
            behind = [unit(single[later][i].numpy()) for later in ("S3", "S4", "S5")[n:]]
            expected = unit(np.prod([unit(cv2.resize(values, (side, side))) for values in behind], axis=0))
            np.testing.assert_allclose(found[stage][i], expected, atol=1e-3)


@pytest.mark.parametrize("method", ["ablationcam", "shapleycam", "refinecam"])
def test_the_folded_copy_has_the_same_maps(method):
    model, images = pmsi_model(), images_of(b=1)
    expected, found = (
        cam(each, images, classes=torch.tensor([2]), method=method).raw for each in (model, folded(model))
    )
    for stage, values in found.items():
        torch.testing.assert_close(values, expected[stage], rtol=0, atol=5e-3 * float(expected[stage].max()))


def test_the_model_is_left_alone_and_threads_share_it():
    model, images = pmsi_model(), images_of()
    for value in model.parameters():
        value.grad = torch.ones_like(value)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    calls = ["ablationcam", "scorecam", "shapleycam", "refinecam"]
    alone = [cam(model, images, method=method).raw for method in calls]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda method: cam(model, images, method=method).raw, calls))
    for one, other in zip(alone, together, strict=True):
        for stage, values in one.items():
            torch.testing.assert_close(other[stage], values, rtol=1e-4, atol=1e-6)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(value.requires_grad and bool((value.grad == 1).all()) for value in model.parameters())
    assert not any(module._forward_hooks or module.training for module in model.modules())
    model.zero_grad(set_to_none=True)


def test_early_stages_and_a_missing_package_are_refused_and_a_stage_without_influence_is_blank(monkeypatch):
    for method in ("refinecam", "scorecam", "shapleycam"):
        model = pmsi_model(interaction=False)
        raw = cam(model, images_of(b=1), head="S4", classes=torch.tensor([0]), method=method).raw
        assert raw["S4"].isfinite().all()
        assert not raw["S5"].any()
    with pytest.raises(ConfigError, match="S3, S4, S5"):
        cam(pmsi_model(), images_of(), stages=("S2",), method="scorecam")
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
    with pytest.raises(ConfigError, match="pip install grad-cam"):
        cam(pmsi_model(), images_of(), method="scorecam")


def test_a_trial_is_shorter_than_what_it_foretells(monkeypatch):
    model, shown = pmsi_model(), []
    whole = adapter.Whole.forward
    monkeypatch.setattr(adapter.Whole, "forward", lambda form, x: (shown.append(len(x)), whole(form, x))[1])
    monkeypatch.setattr(adapter, "_seconds", lambda work: (work(), 1.0)[1])
    channels = model.backbone.channels[-1]
    assert channels > adapter.TRIAL_CHANNELS
    found = cam_seconds(model, 64, stages=("S5",), method="scorecam")
    assert sum(shown) == 1 + adapter.TRIAL_CHANNELS
    assert found > channels / adapter.TRIAL_CHANNELS
    shown.clear()
    cam(model, images_of(b=1), stages=("S5",), method="scorecam")
    assert sum(shown) == 1 + channels
    shown.clear()
    assert cam_seconds(model, 64, stages=("S5",), method="sess") > 0
    assert sum(shown) <= 2 * 5  # a forward pass for the score of each patch, and one for its map


def test_a_method_of_many_passes_can_be_ended_between_two_and_leaves_nothing_held():
    model, passes = pmsi_model(), []

    def look():
        passes.append(1)
        if len(passes) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), adapter.between_passes(look):
        cam(model, images_of(), method="scorecam")
    assert len(passes) == 3
    assert cam(model, images_of(b=1), method="scorecam").raw["S5"].isfinite().all()
    assert len(passes) == 3
