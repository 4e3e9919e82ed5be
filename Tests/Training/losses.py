"""What the losses of Training/ come to, on latents so small and networks so simple that it is known; check.py runs them."""

import os
import sys
from types import SimpleNamespace

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "Training"))

import torch
from torch import nn

import diffusion
import judge
import parts
import regression
import student
import teacher
import text

SHAPE = (2, 8, 16, 16)
CELLS = 16 * 16
NOTHING_SAID = diffusion.Words(None, None)


def near(a, b, error=1e-5):
    a, b = torch.as_tensor(a, dtype=torch.float64), torch.as_tensor(b, dtype=torch.float64)
    return bool(((a - b).abs() <= error * (1 + b.abs())).all())


class Line(nn.Module):
    """A head D_k whose logits are the sum of its input by these weights."""

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(weights))

    def forward(self, x, pooled):
        return torch.einsum("bchw,c->bhw", x, self.weights)


class Layer(nn.Module):
    """In a UNet's place: one convolution."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x, t, states, added_cond_kwargs):
        return SimpleNamespace(sample=self.layer(x))


class Depths(Layer):
    """In the place of F: features of two depths."""

    def forward(self, x, t, states, added_cond_kwargs):
        x = self.layer(x)
        return [x, torch.nn.functional.avg_pool2d(x, 2)]


class Timed(parts.Oracle):
    """Keeps the whole batch's timesteps too."""

    def __call__(self, x, t, states, added_cond_kwargs):
        self.t = t
        return super().__call__(x, t, states, added_cond_kwargs)


class Decided:
    """Heads that say the same of everything."""

    def __init__(self, *logits):
        self.logits = logits

    def measure(self, real, beside):
        pass

    def __call__(self, found, beside, pooled):
        return [torch.full(x[:, 0].shape, logit) for x, logit in zip(found, self.logits)]

    def loss(self, real, made, beside, words):
        return torch.zeros(())


def discriminator(*weights):
    found = student.Discriminator([])
    found.heads = nn.ModuleList(Line(w) for w in weights)
    return found


def the_discriminator_loses_by_hinge_and_slopes():
    """Two heads, of large weights that sum up to a half and to two, on features of one value: logits are these times it.
    R1 of a line is the sum of its squares over all cells, of what looks at the real picture alone."""
    first, second = [5.0, -5.0] * 3 + [5.0, -4.5], [0.25] * 8
    heads = discriminator(first + [0.0] * 8, second + [9.0] * 8)
    slopes = student.GAMMA * CELLS * sum(w * w for w in first + second)
    assert slopes > 0.4, "it would not be seen"
    beside = [torch.zeros(SHAPE)] * 2
    for real, made, hinge in ((1.0, 0.2, 0.5 + 1.1 + 0 + 1.4), (4.0, -3.0, 0), (0.0, 0.0, 4), (-2.0, -1.0, 2 + 0.5 + 5 + 0)):
        says = [[torch.full(SHAPE, value)] * 2 for value in (real, made)]
        loss = heads.loss(*says, beside, NOTHING_SAID)
        assert near(loss, hinge + slopes), f"{real}, {made}: {loss}, not {hinge} + {slopes}"
    # Where the hinge is flat only R1 moves a head, and that is what the second derivatives are for.
    loss = heads.loss([torch.full(SHAPE, 4.0)] * 2, [torch.full(SHAPE, -3.0)] * 2, beside, NOTHING_SAID)
    loss.backward()
    expected = 2 * student.GAMMA * CELLS * torch.tensor(first + [0.0] * 8)
    assert near(heads.heads[0].weights.grad, expected), f"{heads.heads[0].weights.grad}"


def every_loss_moves_its_own_side_alone():
    """Of student, teacher, F and discriminator."""
    torch.manual_seed(0)
    made_by, taught_by, features = Layer(), Layer(), Depths()
    heads = student.Discriminator([8, 8])
    said = diffusion.Words(torch.randn(2, 77, 2 * text.WIDTH), torch.randn(2, text.WIDTH))
    ours, theirs, report = student.losses(
        made_by, taught_by, features, heads, torch.randn(SHAPE), torch.randn(SHAPE), said)

    def moves(loss, model):
        found = torch.autograd.grad(loss, [*model.parameters()], retain_graph=True, allow_unused=True)
        return any(slope is not None and slope.any() for slope in found)

    assert moves(theirs, heads)
    assert not any(moves(theirs, model) for model in (made_by, taught_by, features))
    assert not moves(ours, taught_by)
    for name in ("paired", "adversarial", "distillation"):
        assert moves(report[name], made_by), f"the student learns nothing by {name}"
    weights = {"paired": student.PAIRED, "adversarial": student.ADVERSARIAL, "distillation": student.LAMBDA}
    assert near(ours.detach(), sum(weight * report[name].detach() for name, weight in weights.items()))


def the_student_is_told_how_real_it_looks():
    """Minus the mean of what the heads say: the more real, the less it loses."""
    goal, said = torch.zeros(SHAPE), diffusion.Words(torch.zeros(2, 1), torch.zeros(2, 1))
    *_, report = student.losses(parts.Oracle(goal), None, Depths(), Decided(3.0, -1.0), goal, goal, said, distilled=False)
    assert near(report["adversarial"], -1.0), report


def the_student_is_held_to_patches_and_to_its_teacher():
    """By the mean over patches: what alternates from cell to cell costs nothing, what is off altogether its square. By the
    teacher nothing, where that would say the same; else what they differ by, weighed by alpha of the timestep."""
    torch.manual_seed(0)
    goal, board = torch.randn(SHAPE), (torch.arange(16)[:, None] + torch.arange(16)) % 2 * 2.0 - 1
    for off, error, paired in ((1.5 * board, 0.25, 0.0), (torch.full(SHAPE, 1.5), 0.25, 0.25)):
        ours, theirs, report = student.losses(parts.Oracle(goal + off), None, None, None, goal, goal, NOTHING_SAID,
                                              adversarial=False, distilled=False)
        assert near(report["error"], error) and near(report["paired"], paired), report
        assert near(ours, student.PAIRED * paired) and theirs == 0
    made = torch.randn(SHAPE).requires_grad_()
    ids = diffusion.time_ids(2, made.device)
    for _ in range(8):
        assert student.distill(Timed(made.detach()), goal, made, NOTHING_SAID, ids) < 1e-8
        other = Timed(torch.randn(SHAPE))
        loss = student.distill(other, goal, made, NOTHING_SAID, ids)
        alpha = 1 / (diffusion.sigmas(other.t) ** 2 + 1).sqrt()
        off = (made - other.goal).detach() / diffusion.LATENT_SIZE
        assert near(loss.detach(), (alpha * off.square()).mean(), 1e-3)
        (slope,) = torch.autograd.grad(loss, made)
        expected = 2 * alpha * off / diffusion.LATENT_SIZE / made.numel()
        assert (slope - expected).norm() < 1e-3 * expected.norm()


def the_teacher_loses_by_squares_and_by_steps():
    """Off by a slope, so much a cell across and down: the mean of squares, and the squares of both steps, all weighed."""
    torch.manual_seed(0)
    source, goal, across, down = torch.randn(SHAPE), torch.randn(SHAPE), 0.3, 0.2
    slope = (across * torch.arange(16.0) + down * torch.arange(16.0)[:, None]).expand(SHAPE)
    for _ in range(8):
        oracle = Timed(goal + slope)
        loss, error = teacher.loss(oracle, source, goal, NOTHING_SAID)
        plain = (slope / diffusion.LATENT_SIZE).square().mean()
        weight = (1 / diffusion.sigmas(oracle.t) ** 2).clamp(teacher.LEAST, teacher.MOST).mean()
        steps = (across**2 + down**2) / diffusion.LATENT_SIZE**2
        assert near(error, plain, 1e-4)
        assert near(loss, weight * (plain + teacher.STEEP * steps), 1e-4), f"{loss} at {oracle.t}"
        assert teacher.loss(Timed(goal), source, goal, NOTHING_SAID)[0] < 1e-8


def frechet_distances_are_of_means_and_spreads():
    """Nothing between a set and itself; the square of a shift; of a set twice as wide the spread between them."""
    torch.manual_seed(0)
    x, shift = torch.randn(500, 16).double(), torch.linspace(-1, 2, 16).double()
    x = x - x.mean(0)
    spread = torch.cov(x.T).trace()
    far = shift.square().sum()
    for y, expected in ((x, 0.0), (x + shift, far), (2 * x, spread), (2 * x + shift, spread + far)):
        assert near(judge.frechet(x, y), expected, 1e-6), f"{judge.frechet(x, y)}, not {expected}"
        assert near(judge.frechet(y, x), expected, 1e-6)


def a_fall_of_more_than_a_tenth_is_found():
    before = {"styles": {"oil": 0.5, "ink": 0.9}, "structure": 0.6}

    def fallen(oil, ink, structure):
        return regression.fallen({"styles": {"oil": oil, "ink": ink}, "structure": structure}, before)

    assert fallen(0.5, 0.9, 0.6) == [] and fallen(0.46, 0.82, 0.55) == [] and fallen(1.0, 1.0, 1.0) == []
    assert fallen(0.44, 0.9, 0.6) == ["oil"] and fallen(0.5, 0.8, 0.6) == ["ink"] and fallen(1.0, 1.0, 0.53) == ["structure"]
    assert fallen(0.1, 0.1, 0.1) == ["oil", "ink", "structure"]
