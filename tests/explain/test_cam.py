"""Class activation maps against pytorch-grad-cam, against the equation by finite differences, and under threads."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from settled import CLASSES, STAGES, OneHead, baseline_model, images_of, pmsi_model, settle

import pmsi.base.vision  # noqa: F401  (before pytorch_grad_cam, which imports torchvision)
from pmsi.base.errors import ConfigError, PMSIError, UnknownName
from pmsi.explain import CAM_METHODS, CamMethod, cam, resize
from pmsi.explain.cam import module_cam
from pmsi.model import BACKBONES, SMOOTH_CONVS
from pmsi.model.baseline import Baseline
from pmsi.model.pmsi import mix_probabilities


def reference(model, head, images, classes, stage, method="GradCAM"):
    """Return pytorch-grad-cam's map of one layer as it is before ReLU, scaling and resizing, (b, h_n, w_n)."""
    import pytorch_grad_cam

    layer = model.backbone.pieces[STAGES.index(stage)]
    with getattr(pytorch_grad_cam, method)(OneHead(model, head), [layer]) as explainer:
        seen = explainer.activations_and_grads
        seen(images).gather(1, classes[:, None]).sum().backward()
        activations, gradients = seen.activations[0].numpy(), seen.gradients[0].numpy()
        found = explainer.get_cam_image(images, layer, None, activations, gradients, False)
    model.zero_grad(set_to_none=True)
    return torch.from_numpy(found)


def assert_same_map(found, expected):
    """Compare to 1e-4 of the largest value, and absolutely where that is above 1."""
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * min(1.0, float(expected.abs().max())))


def against_the_class(method):
    """Return a row whose maps are the row's own times −1, so that what the ReLU takes away is compared too."""
    return CamMethod("Against the class", "this test", lambda a, g: -CAM_METHODS[method].formula(a, g))


@pytest.mark.parametrize(
    ("backbone", "head"),
    [("mobilenet_v2", "mix"), ("resnet18", "S3"), ("tiny", "S4"), ("tiny", "S5"), ("tiny", "concat"),
     ("tiny", "probabilities"), ("mobilenet_v2", "classifier")],
)  # fmt: skip
def test_every_map_is_that_of_pytorch_grad_cam_for_its_layer(backbone, head, monkeypatch):
    monkeypatch.setitem(CAM_METHODS, "opposite", against_the_class("gradcam"))
    model = baseline_model(backbone) if head == "classifier" else pmsi_model(backbone)
    if head == "probabilities":
        model, head = pmsi_model(backbone, mix=mix_probabilities), "mix"
    images, classes = images_of(), torch.tensor([1, 4])
    maps = cam(model, images, head=head, classes=classes)
    against = cam(model, images, head=head, classes=classes, method="opposite")
    assert maps.stages == tuple(maps.raw) == ("S3", "S4", "S5")
    for stage in maps.stages:
        expected = reference(model, head, images, classes, stage)
        assert expected.abs().max() > 0
        assert_same_map(maps.raw[stage] - against.raw[stage], expected)
        assert_same_map(maps.raw[stage], expected.relu())


LIBRARY = {
    "gradcam": "GradCAM", "gradcam_plus_plus": "GradCAMPlusPlus", "xgradcam": "XGradCAM", "layercam": "LayerCAM",
    "hirescam": "HiResCAM", "eigencam": "EigenCAM",
}  # fmt: skip
FORMULAS = [name for name, row in CAM_METHODS.items() if row.formula is not None]
assert list(LIBRARY) == FORMULAS


@pytest.mark.parametrize("method", LIBRARY)
def test_every_method_is_that_of_pytorch_grad_cam_for_each_layer_alone(method, monkeypatch):
    monkeypatch.setitem(CAM_METHODS, "opposite", against_the_class(method))
    model, images, classes = pmsi_model(), images_of(b=3), torch.tensor([1, 4, 0])
    found, against = (cam(model, images, classes=classes, method=name).raw for name in (method, "opposite"))
    for stage in ("S3", "S4", "S5"):
        expected = reference(model, "mix", images, classes, stage, LIBRARY[method])
        signed = found[stage] - against[stage]
        if method == "eigencam":  # the library's sign is that of a LAPACK routine; here the farthest value is positive
            farthest = expected.flatten(1).gather(1, expected.flatten(1).abs().argmax(dim=1, keepdim=True))
            expected = expected * farthest.sign()[:, :, None]
        assert expected.abs().max() > 0
        for one, other in zip(signed, expected, strict=True):  # a share of each map's own largest value
            assert_same_map(one / other.abs().max(), other / other.abs().max())


def test_the_sign_of_a_principal_component_is_that_of_the_library_s_own_correction():
    from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection_with_sign_correction

    activations = torch.randn(6, 5, 4, 3, generator=torch.Generator().manual_seed(0)) ** 3
    expected = get_2d_projection_with_sign_correction(activations.numpy())
    found = CAM_METHODS["eigencam"].formula(activations, activations)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    torch.testing.assert_close(CAM_METHODS["eigencam"].formula(-activations, activations), found)


@pytest.mark.parametrize("method", [name for name in CAM_METHODS if name != "sess"])  # which is slow, and of Grad-CAM
def test_a_method_says_whether_it_asks_for_the_class(method):
    model, images = pmsi_model(), images_of()
    one, other = (
        cam(model, images, classes=torch.tensor(labels), method=method, stages=("S4",)).raw["S4"]
        for labels in ([0, 1], [2, 3])
    )
    assert torch.equal(one, other) != CAM_METHODS[method].of_class


@pytest.mark.parametrize("method", FORMULAS)
def test_images_of_a_batch_do_not_influence_each_other_and_a_blank_one_has_a_blank_map(method):
    """No activation and no gradient is no evidence, and nothing is divided by zero; the best class is explained."""
    model, images = pmsi_model(), images_of(b=3)
    together = cam(model, images, method=method)
    assert (together.head, tuple(together.logits)) == ("mix", model.heads)
    with torch.no_grad():
        for head, logits in model(images).items():
            torch.testing.assert_close(together.logits[head], logits)
    assert torch.equal(together.classes, together.logits["mix"].argmax(1))
    for i in range(3):
        alone = cam(model, images[i : i + 1], method=method)
        assert alone.classes[0] == together.classes[i]
        for stage, found in alone.raw.items():
            assert found.min() >= 0
            torch.testing.assert_close(found[0], together.raw[stage][i], rtol=1e-4, atol=1e-6)
    found = CAM_METHODS[method].formula(torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4))
    assert torch.equal(found, torch.zeros(2, 4, 4))


def test_any_stage_can_be_the_first_one_and_stages_come_in_the_order_asked_for():
    model, images, classes = pmsi_model(), images_of(), torch.tensor([2, 3])
    every = cam(model, images, classes=classes, stages=("S5", "S4", "S5", "S3", "S2", "S1"))
    assert every.stages == tuple(every.raw) == ("S5", "S4", "S3", "S2", "S1")
    for stage, side in zip(STAGES, (32, 16, 8, 4, 2), strict=True):
        alone = cam(model, images, classes=classes, stages=(stage,))
        assert tuple(alone.raw) == (stage,)
        assert alone.raw[stage].shape == (2, side, side)
        torch.testing.assert_close(alone.raw[stage], every.raw[stage], rtol=1e-4, atol=1e-6)
        assert_same_map(alone.raw[stage], reference(model, "mix", images, classes, stage).relu())


def test_the_equation_by_finite_differences():
    """α_k = mean over positions of ∂y/∂A_k; map = ReLU(Σ_k α_k A_k), in plain loops, in float64."""
    torch.manual_seed(3)
    model = settle(Baseline(BACKBONES["tiny"].make(None), CLASSES), 100).double()
    image = images_of(b=1, side=32).double()
    maps = cam(model, image, classes=torch.tensor([2]), stages=("S4", "S5"))
    with torch.no_grad():
        before = model.backbone(image)

        def score(activations):
            behind = model.backbone.advance(activations, 4)
            return model.classify([*before[:3], activations, *behind])["classifier"][0, 2]

        activations, epsilon = before[3], 1e-5
        channels, height, width = activations.shape[1:]
        expected = torch.zeros(height, width, dtype=torch.float64)
        for k in range(channels):
            alpha = 0.0
            for y in range(height):
                for x in range(width):
                    step = torch.zeros_like(activations)
                    step[0, k, y, x] = epsilon
                    alpha += float(score(activations + step) - score(activations - step)) / (2 * epsilon)
            expected += alpha / (height * width) * activations[0, k]
    assert expected.max() > 0
    torch.testing.assert_close(maps.raw["S4"][0], expected.relu(), rtol=1e-4, atol=1e-7)


def test_a_stage_that_the_output_does_not_depend_on_is_blank():
    model = pmsi_model(interaction=False)
    raw = cam(model, images_of(), head="S3", classes=torch.tensor([0, 1])).raw
    assert not raw["S4"].any()
    assert not raw["S5"].any()
    assert not cam(model, images_of(), head="S3", stages=("S5",)).raw["S5"].any()
    with_interaction = cam(pmsi_model(), images_of(b=7), head="S3", classes=torch.arange(7)).raw
    assert with_interaction["S4"].any()
    assert with_interaction["S5"].any()


# What is left alone


def test_parameters_gradients_mode_and_global_state_stay_as_they_are():
    model = pmsi_model()
    marks = {name: torch.full_like(value, 0.5) for name, value in model.named_parameters() if "classifiers" in name}
    for name, value in model.named_parameters():
        value.grad = marks[name].clone() if name in marks else None
    before = {name: value.clone() for name, value in model.state_dict().items()}
    cam(model, images_of())
    for name, value in model.named_parameters():
        assert value.requires_grad
        assert value.grad is None if name not in marks else torch.equal(value.grad, marks[name])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module.training for module in model.modules())
    assert torch.is_grad_enabled()
    model.zero_grad(set_to_none=True)


def test_gradients_that_are_off_and_frozen_parameters_make_no_difference():
    torch.manual_seed(0)
    model = pmsi_model(interaction=False, spatial=SMOOTH_CONVS["separable"])
    expected = cam(model, images_of(), head="S4").raw
    for around in (torch.no_grad, torch.inference_mode):
        with around():
            found = cam(model, images_of(), head="S4").raw
            assert not torch.is_grad_enabled()
        assert all(torch.equal(found[stage], expected[stage]) for stage in expected)
    model.requires_grad_(False)
    found = cam(model, images_of(), head="S4").raw
    assert all(torch.equal(found[stage], expected[stage]) for stage in expected)
    assert not cam(model, images_of(), head="S4", stages=("S5",)).raw["S5"].any()
    model.requires_grad_(True)


def test_four_threads_share_a_model():
    model = pmsi_model()
    jobs = [(images_of(seed=i), ("S3", "S5", "concat", "mix")[i % 4], FORMULAS[i % len(FORMULAS)]) for i in range(12)]

    def explain(job):
        images, head, method = job
        return cam(model, images, head=head, method=method).raw

    expected = [explain(job) for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(explain, jobs * 2))
    for i, raw in enumerate(found):
        for stage, stage_map in raw.items():
            torch.testing.assert_close(stage_map, expected[i % len(jobs)][stage], rtol=1e-5, atol=1e-7)


# What is refused


def test_training_mode_and_names_and_classes_that_do_not_exist_are_refused():
    model = Baseline(BACKBONES["tiny"].make(None), CLASSES).eval()
    model.backbone.pieces[0].train()
    for training in (model, model.train()):
        with pytest.raises(PMSIError, match="training mode"):
            cam(training, images_of())
    for choice in ({"head": "S9"}, {"stages": ("S3", "S6")}, {"method": "gradcam++"}):
        with pytest.raises(UnknownName, match="Choose one of"):
            cam(pmsi_model(), images_of(), **choice)
    for classes in ([0], [0, CLASSES], [-1, 0], [0.0, 1.0], [[0, 1]]):
        with pytest.raises(ConfigError, match="from 0 to 6"):
            cam(pmsi_model(), images_of(), classes=torch.tensor(classes))
    with pytest.raises(ConfigError, match="S1, S2, S3, S4, S5"):
        cam(pmsi_model(), images_of(), stages=())


# Resizing


def test_resizing_is_bilinear():
    found = resize(torch.tensor([[[0.0, 4.0]]]), (2, 8))
    assert found.shape == (1, 2, 8)
    assert found[0, 0].tolist() == pytest.approx([0, 0, 0.5, 1.5, 2.5, 3.5, 4, 4])


# Why this, not that


def finer(model, images, label, stage, method):
    """Return Finer-CAM by pytorch-grad-cam before its scaling, against the class with the nearest logit."""
    import pytorch_grad_cam

    layer, kept = model.backbone.pieces[STAGES.index(stage)], []
    base = getattr(pytorch_grad_cam, LIBRARY[method])
    with pytorch_grad_cam.FinerCAM(OneHead(model, "mix"), [layer], None, base) as explainer:
        plain = explainer.base_cam.get_cam_image
        explainer.base_cam.get_cam_image = lambda *given: kept.append(plain(*given)) or kept[0]
        explainer(images, target_idx=label, comparison_categories=[1])
    model.zero_grad(set_to_none=True)
    return torch.from_numpy(kept[0]).relu()


@pytest.mark.parametrize("method", [name for name in FORMULAS if name != "eigencam"])  # which does not ask for a class
def test_the_difference_to_a_rival_is_finer_cam(method):
    model, images = pmsi_model(), images_of(b=1)
    with torch.no_grad():
        best = model(images)["mix"][0].topk(2).indices  # the library divides by a rival's probability + 1e-9
    some = 0
    for one, other in (best, best.flip(0)):
        found = cam(model, images, classes=one[None], rival=other[None], method=method)
        for stage in ("S3", "S4", "S5"):
            expected = finer(model, images, int(one), stage, method)
            some += bool(expected.any())
            assert_same_map(found.raw[stage] / (top := expected.max() or 1), expected / top)
    assert some > 2


def test_rivals_are_the_likeliest_other_the_nearest_by_weights_or_a_picked_one():
    images, classes = images_of(), torch.tensor([1, 4])
    logits = cam(pmsi_model(), images, classes=classes).logits["mix"]
    best = [max((v, n) for n, v in enumerate(row) if n != own)[1] for row, own in zip(logits, (1, 4), strict=True)]
    assert cam(pmsi_model(), images, classes=classes, rival="likeliest").rivals.tolist() == best
    rows = pmsi_model().concat.layers[-1].weight.detach().numpy()
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    nearest = [min((np.linalg.norm(rows[own] - row), n) for n, row in enumerate(rows) if n != own)[1] for own in (1, 4)]
    assert cam(pmsi_model(), images, head="concat", classes=classes, rival="similar").rivals.tolist() == nearest
    place = f"model.backbone.pieces.{STAGES.index('S4')}"
    by_name = module_cam(OneHead(pmsi_model(), "concat").eval(), images, [place], classes=classes, rival="likeliest")
    expected = cam(pmsi_model(), images, head="concat", classes=classes, rival="likeliest")
    torch.testing.assert_close(by_name.raw[place], expected.raw["S4"], rtol=1e-4, atol=1e-6)
    assert len(pmsi_model().last_layers("mix")) == 4
    assert len(baseline_model().last_layers("classifier")) == 1
    for rival in ("nearest", torch.tensor([1, 0]), torch.tensor([0, 7]), torch.tensor([0])):
        with pytest.raises((UnknownName, ConfigError)):
            cam(pmsi_model(), images, classes=classes, rival=rival)
