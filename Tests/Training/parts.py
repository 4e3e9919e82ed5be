"""Parts of Training/ by themselves; check.py runs them."""

import argparse
import copy
import itertools
import os
import signal
import sys
import tempfile
import unittest.mock
from types import SimpleNamespace

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "Training"))

import torch

import autoencoder
import diffusion
import pool
import run as training
import spark
import words


class Oracle:
    """In a UNet's place: predicts `goal` from whatever it is given, and keeps what that was, with the timestep."""

    def __init__(self, goal):
        self.goal, self.given = goal, []

    def __call__(self, x, t, states, added_cond_kwargs):
        sigma = diffusion.sigmas(t)
        root = (sigma**2 + 1).sqrt()
        self.given.append((int(t[0]), x * root))
        return SimpleNamespace(sample=(x - self.goal * root) / sigma)


def sampling_keeps_to_the_path():
    """What the sampler gives to a network that is always right lies, in mean and spread, where equation (1) says."""
    torch.manual_seed(0)
    source, goal = torch.full((64, 8, 32, 32), 3.0), torch.full((64, 8, 32, 32), -2.0)
    for strength, count in ((0.5, 4), (0.8, 3)):
        oracle = Oracle(goal)
        made = diffusion.repaint(oracle, source, diffusion.Words(None, None), strength, count)
        assert (made - goal).abs().max() < 1e-4
        start = torch.full((len(source),), oracle.given[0][0])
        assert [t for t, _ in oracle.given] == diffusion.timesteps(strength, count)
        for number, given in oracle.given:
            t = torch.full_like(start, number)
            mean, sigma = diffusion.path(source, goal, 0 * source, t, start), diffusion.sigmas(t)[0].item()
            assert (given - mean).mean().abs() < 0.01 * sigma, f"timestep {number}: {given.mean()}, not {mean.mean()}"
            assert abs((given - mean).std() / sigma - 1) < 0.01, f"timestep {number}: {(given - mean).std()}, not {sigma}"


def a_checkpoint_of_another_layout_goes_on_the_same():
    """Optimizers' moments saved with channels last, as on a GPU, and loaded in the plain order, and the other way."""
    layouts = (torch.channels_last, torch.contiguous_format)
    for before, after in itertools.permutations(layouts):
        torch.manual_seed(0)
        saved = autoencoder.build().to(memory_format=before)
        loaded = copy.deepcopy(saved).to(memory_format=after)
        first, second = training.adam((saved, 1e-3)), training.adam((loaded, 1e-3))

        def step(model, optimizer, seed):
            generator = torch.Generator().manual_seed(seed)
            for p in model.parameters():
                p.grad = torch.empty_like(p).copy_(torch.randn(p.shape, generator=generator))
            optimizer.step()

        for seed in range(2):
            step(saved, first, seed)
        loaded.load_state_dict(saved.state_dict())
        training.load_optimizer(second, copy.deepcopy(first.state_dict()))
        step(saved, first, 2)
        step(loaded, second, 2)
        for (name, a), b in zip(saved.named_parameters(), loaded.parameters()):
            assert torch.allclose(a, b, atol=1e-7), f"{name}: {(a - b).abs().max()}"


def pictures_come_of_the_styles_asked_for():
    """One style or two, and how much of them, in one copy: the same as picture by picture."""
    torch.manual_seed(0)
    pictures = pool.Pool(1, torch.device("cpu"), 4, 0)
    pictures.store.random_(0, 256)
    pictures.written = 4
    side, slot = 192, lambda name: pool.FIRST + pool.styles.NAMES.index(name)
    windows = pictures.windows(side, 3)
    asked = [words.Request("", {"oil": 1.0}), words.Request("", {"ink": 0.5, "neon": 0.5}), words.Request("", {"comic": 1.0}, 0.35)]
    wanted = pictures.wanted(windows, asked, side)
    for made, window, request in zip(wanted, windows.tolist(), asked):
        picture, y, x = window[0], window[1] * pool.CELL, window[2] * pool.CELL
        styled = pictures.store[picture, :, :, y : y + side, x : x + side].float() / 255
        goal = sum(share * styled[slot(name)] for name, share in request.shares.items())
        goal = torch.lerp(styled[slot("photo")], goal, request.amount)
        assert (made - goal).abs().max() < 1e-6


def workers_send_bytes_and_leave_interrupts():
    """Ctrl-C reaches them too; what ends them is the end of the main process."""
    pictures = pool.Pool(1, torch.device("cpu"), 8, 1)
    pictures.renew()
    (worker,) = pictures.incoming._workers
    os.kill(worker.pid, signal.SIGINT)
    # More than it may have had ready.
    taken = [next(pictures.incoming) for _ in range(12)]
    assert worker.is_alive() and all(x.dtype == torch.uint8 for x in taken)


def networks_are_compiled_before_the_clock_starts():
    """A step later on, after the crops have grown, with text encoders that learn or not, brings nothing new to compile;
    and where a compiler is missing training goes on without. Nothing is learnt meanwhile."""
    graphs = []

    def count(graph, _):
        graphs.append(graph)
        return graph.forward

    def broken(graph, _):
        raise RuntimeError("no C compiler")

    def prepare(backend, all_stages):
        before = copy.deepcopy(run.state())
        with torch.compiler.set_stance("default", force_backend=backend), unittest.mock.patch("spark.STAGES", all_stages):
            spark.prepare(run)
        for name in ("vae", "student", "average_teacher", "discriminator"):
            assert all(torch.equal(a, b) for a, b in zip(before[name].values(), run.state()[name].values())), name
        assert not any(o.state for o in run.optimizers.values())

    with tempfile.TemporaryDirectory() as folder:
        run = training.Run(argparse.Namespace(device="cpu", runs=folder, quick=True, minutes=2, without=None, output=None))
        run.size = training.Size(64, 2, ((0.85, 64, 2), (9, 96, 2)), 192, (12, 1), 2, 0)
        run.compile()
        run.fill()
        prepare(broken, spark.STAGES[:1])
        prepare(count, spark.STAGES)
        compiled = len(graphs)
        assert compiled > 10 and not torch._dynamo.utils.counters["graph_break"]
        with torch.compiler.set_stance("default", force_backend=count):
            for stage, step, _ in spark.STAGES:
                for run.stage_step, done in ((0, 0.1), (1, 0.9)):
                    step(run, done)
                    assert len(graphs) == compiled, f"{stage} is compiled again at {done}"
