"""PC and API-Net against plain loops over the pairs of a batch, and PC's slope against finite differences."""

import math

import pytest
import torch

from pmsi.model.backbones import BACKBONES
from pmsi.model.batch import Phase, Target
from pmsi.model.pairwise import PC, APINet, nearest_pairs, pairwise_confusion

PHASE = Phase("classifier", 0)


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def tiny():
    return BACKBONES["tiny"].make(None)


def softmax(row):
    powers = [math.exp(value) for value in row]
    return [power / sum(powers) for power in powers]


def confusion_by_loops(logits, labels):
    half, total = len(labels) // 2, 0.0
    for left in range(half):
        right = left + half
        if labels[left] != labels[right]:
            p, q = softmax(logits[left]), softmax(logits[right])
            total += math.sqrt(sum((a - b) ** 2 for a, b in zip(p, q, strict=True)))
    return total / len(labels)


@pytest.fixture
def batch(generator):
    """Eight logits: the pairs are of two classes, of one, of two with equal probabilities, and of two again."""
    logits = torch.randn(8, 4, generator=generator, dtype=torch.float64)
    logits[6] = logits[2] + 1  # a softmax does not see what is added to all
    return logits, torch.tensor([0, 1, 2, 3, 2, 1, 0, 0])


def test_pairwise_confusion_by_loops(batch):
    logits, labels = batch
    expected = confusion_by_loops(logits.tolist(), labels.tolist())
    assert pairwise_confusion(logits, labels).item() == pytest.approx(expected, rel=1e-12)
    assert pairwise_confusion(logits.float(), labels).item() == pytest.approx(expected, rel=1e-5)


def test_its_gradient_by_finite_differences(batch):
    """Central differences, which are 0 at the tip of a norm: what the slope of a norm of 0 is taken to be."""
    logits, labels = batch
    found = torch.autograd.grad(pairwise_confusion(logits.requires_grad_(), labels), logits)[0]
    rows = logits.tolist()
    for i, row in enumerate(rows):
        for k in range(len(row)):
            around = []
            for step in (1e-5, -1e-5):
                moved = [list(other) for other in rows]
                moved[i][k] += step
                around.append(confusion_by_loops(moved, labels.tolist()))
            assert found[i, k].item() == pytest.approx((around[0] - around[1]) / 2e-5, abs=1e-7)
    assert not found[[1, 5]].any()  # one class
    assert found[[0, 4, 3, 7]].abs().min() > 1e-4


@pytest.mark.parametrize(("training", "weight"), [(True, 10.0), (False, 10.0), (True, 0.0)])
def test_pc_adds_lambda_times_the_confusion_to_the_cross_entropy(training, weight, generator):
    model = PC(tiny(), 4, weight).train(training)
    images, labels = torch.randn(6, 3, 64, 64, generator=generator), torch.tensor([0, 1, 2, 3, 1, 0])
    loss = model.loss(images, Target.plain(labels), PHASE)
    logits = model(images)["classifier"].tolist()
    entropy = sum(-math.log(softmax(row)[label]) for row, label in zip(logits, labels.tolist(), strict=True)) / 6
    assert loss.item() == pytest.approx(entropy + weight * confusion_by_loops(logits, labels.tolist()), rel=1e-4)


def partner_by_brute_force(x, labels, i, same):
    """The nearest other image of the same class, or of another; None where there is none."""
    allowed = [j for j in range(len(x)) if j != i and (labels[j] == labels[i]) == same]
    return min(allowed, key=lambda j: math.dist(x[i], x[j]), default=None)


LABELS = [[0, 0, 1, 1, 2, 2, 2, 0], [0, 0, 1, 1, 1, 2, 0, 3], [1, 1, 1, 1, 1, 1, 1, 1]]


@pytest.mark.parametrize("labels", LABELS)
def test_nearest_pairs_by_brute_force(labels, generator):
    x = torch.randn(8, 5, generator=generator)
    x[3] = x[6]  # two equal ones: a tie for all others, and nearest to each other
    for same, (found, exists) in zip((True, False), nearest_pairs(x, torch.tensor(labels)), strict=True):
        for i in range(8):
            expected = partner_by_brute_force(x.tolist(), labels, i, same)
            assert exists[i].item() == (expected is not None)
            assert expected is None or found[i].item() == expected


def views(model, x_1, x_2):
    """The features of both images of one pair, each (seen through its own gate, through the other's): loops alone."""
    first, _, second = model.mutual
    x_m = second.weight @ (first.weight @ torch.cat([x_1, x_2]) + first.bias) + second.bias
    opened = [[1 / (1 + math.e ** -(m * value)) for m, value in zip(x_m, x, strict=True)] for x in (x_1, x_2)]
    g_1, g_2 = (torch.stack(gate) for gate in opened)
    return [(x_1 + x_1 * g_1, x_1 + x_1 * g_2), (x_2 + x_2 * g_2, x_2 + x_2 * g_1)]


def api_loss_by_loops(model, x, labels):
    entropies, shortfalls = [], []
    for i in range(len(x)):
        for same in (True, False):
            j = partner_by_brute_force(x.tolist(), labels, i, same)
            if j is None:
                continue
            for label, pair_of_views in zip((labels[i], labels[j]), views(model, x[i], x[j]), strict=True):
                own, other = ((model.classifier.weight @ view + model.classifier.bias) for view in pair_of_views)
                p_own, p_other = (logits.exp()[label] / logits.exp().sum() for logits in (own, other))
                entropies += [-p_own.log(), -p_other.log()]
                shortfalls.append(torch.clamp(p_other - p_own + 0.05, min=0))
    return torch.stack(entropies).mean() + torch.stack(shortfalls).mean()


@pytest.mark.parametrize("labels", LABELS)
def test_api_net_s_loss_and_gradient_by_loops_over_the_pairs(labels, generator):
    """Images without a partner, as in the last two batches, make no pair."""
    model = APINet(tiny(), 4, dropout=0.0).train()
    last = 3 * torch.rand(8, 128, 2, 3, generator=generator)
    last.requires_grad_()
    loss = model.head_loss([last], Target.plain(torch.tensor(labels)), PHASE)
    expected = api_loss_by_loops(
        model, torch.stack([last[:, :, y, x] for y in (0, 1) for x in (0, 1, 2)]).mean(0), labels
    )
    torch.testing.assert_close(loss, expected)
    weights = [last, *model.mutual.parameters(), *model.classifier.parameters()]
    for ours, theirs in zip(torch.autograd.grad(loss, weights), torch.autograd.grad(expected, weights), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_api_net_is_tested_with_its_classifier_on_the_mean_of_the_last_map(generator):
    model = APINet(tiny(), 4).eval()
    images = torch.randn(3, 3, 64, 64, generator=generator)
    last = model.backbone(images)[-1]
    for i, logits in enumerate(model(images)["classifier"]):
        mean = torch.stack([last[i, :, y, x] for y in range(2) for x in range(2)]).mean(0)
        torch.testing.assert_close(logits, model.classifier.weight @ mean + model.classifier.bias)


@pytest.mark.parametrize("make", [PC, APINet])
def test_probabilities_stay_in_float32_under_autocast(make, generator):
    model = make(tiny(), 4).eval()
    images, labels = torch.randn(4, 3, 64, 64, generator=generator), torch.tensor([0, 0, 1, 1])
    expected = model.loss(images, Target.plain(labels), PHASE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model.loss(images, Target.plain(labels), PHASE)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=0.05)
