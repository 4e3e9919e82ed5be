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
import evaluate
import pool
import run as training
import spark
import text
import words


SMALL = training.Size(64, 2, ((0.85, 64, 2), (9, 96, 2)), 192, (12, 1), 2, 0)


def begun(folder, **options):
    """A run on the processor, with small crops; `options` as spark.py's."""
    usual = {"device": "cpu", "runs": folder, "quick": True, "minutes": 2, "without": None, "student_minutes": None,
             "output": None, "threads": torch.get_num_threads(), "write_every": 20}
    run = training.Run(argparse.Namespace(**usual | options))
    run.size = SMALL
    return run


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


def untaught_pieces_speak_as_letters():
    """Those of other scripts and signs; what training taught, and what is padded with, stays."""
    with tempfile.TemporaryDirectory() as folder:
        text.write_vocabulary(folder, text.make_vocabulary())
        pair = text.tokenizers(folder)
    encoders, numbers = text.build(len(pair[0].get_vocab())), pair[0].get_vocab()
    before = [e.get_input_embeddings().weight.clone() for e in encoders]
    text.lend_letters(encoders, pair)
    letters = [numbers[chr(ord("a") + i)] for i in range(26)], [numbers[chr(ord("a") + i) + "</w>"] for i in range(26)]
    foreign = [numbers[piece] for piece in pair[0].tokenize("漢字 ☃ 1950")]
    taught = pair[0]("oil painting and neon, a woodcut of me").input_ids + letters[0] + letters[1]
    for encoder, old, padding in zip(encoders, before, (text.END, "!")):
        new, kept = encoder.get_input_embeddings().weight, [*taught, numbers[padding]]
        assert torch.equal(new[kept], old[kept])
        assert all(any(torch.equal(new[i], old[j]) for j in letters[0] + letters[1]) for i in foreign)
        assert not any(torch.equal(old[i], old[j]) for i in foreign for j in letters[0] + letters[1])


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
        run = begun(folder)
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


def values(x, name=""):
    """{name: value} of everything in nested dicts and lists."""
    if not isinstance(x, (dict, list)):
        return {name: x}
    parts = x.items() if isinstance(x, dict) else enumerate(x)
    return {key: value for k, part in parts for key, value in values(part, f"{name}/{k}").items()}


def learnt(run):
    """{name: its values} of all networks and optimizers, found by themselves and not by the run's own list."""
    every = dict(vars(run))
    for group in ("average", "optimizers"):
        every |= {f"{group} {name}": part for name, part in every[group].items()}
    kinds = (torch.nn.Module, torch.optim.Optimizer)
    return {name: values(copy.deepcopy(part.state_dict())) for name, part in every.items() if isinstance(part, kinds)}


def same(a, b):
    return a.keys() == b.keys() and all(
        torch.equal(a[name], b[name]) if isinstance(a[name], torch.Tensor) else a[name] == b[name] for name in a)


def a_checkpoint_holds_all_that_was_learnt():
    """After a step of each stage every network has changed; a second run in the folder has all of it to the bit."""
    with tempfile.TemporaryDirectory() as folder:
        run = begun(folder)
        run.fill()
        before = learnt(run)
        for stage, step, _ in spark.STAGES:
            spark.enter(run, stage)
            step(run, 0.5)
            run.seconds, run.step, run.stage_step = run.seconds + 1.5, run.step + 1, run.stage_step + 1
        run.save()
        resumed = begun(folder)
        after, again = learnt(run), learnt(resumed)
        assert len(after) > 15, [*after]
        for name in after:
            assert not same(before[name], after[name]), f"{name} has learnt nothing"
            assert same(after[name], again[name]), f"{name} is not as it was saved"
        for name in (*training.COUNTS, "minutes"):
            assert getattr(run, name) == getattr(resumed, name), name
        assert resumed.vae.config.scaling_factor == run.vae.config.scaling_factor != 1.0


def refused(*arguments, **options):
    try:
        begun(*arguments, **options)
    except SystemExit as error:
        return str(error)
    raise AssertionError(f"{options} was taken")


def a_run_keeps_its_minutes():
    """Another --minutes is refused with what to do; none is the run's own; a checkpoint from before they were saved takes
    what it is told. A --quick run that came to its end is begun anew, others are not."""
    with tempfile.TemporaryDirectory() as folder:
        run = begun(folder, quick=False, minutes=7)
        run.seconds, run.step, run.entered = 7 * 60.0, 5000, "student"
        run.save()
        assert "--minutes 7" in refused(folder, quick=False, minutes=9)
        assert begun(folder, quick=False, minutes=None).minutes == 7
        state = torch.load(run.path)
        del state["minutes"]
        torch.save(state, run.path)
        old = begun(folder, quick=False, minutes=9)
        assert old.minutes == 9 and old.step == 5000
        assert begun(folder, minutes=7).step == 0
        assert begun(folder, minutes=9).step == 5000


def trained(run, lasting):
    """The stages of the steps that train takes, each of so many seconds; nothing is learnt or written."""
    ran = []

    def steps(stage):
        def step(run, done):
            assert 0 <= done <= 1
            ran.append(stage)
            run.seconds += lasting
            return {}
        return step

    run.rescale(2.0)  # or it would be measured
    stages = tuple((stage, steps(stage), end) for stage, _, end in spark.STAGES)
    nothing = dict.fromkeys(("fill", "save", "write"), lambda *_: None)
    with unittest.mock.patch("spark.STAGES", stages), unittest.mock.patch.multiple(run, **nothing):
        spark.train(run)
    return ran


def every_stage_has_a_turn_and_none_comes_twice():
    """Steps longer than their stages still give each one; a run whose clock says teacher but that has a student goes on
    with that, as one from before minutes were saved may; one at its end takes no step."""
    names = [stage for stage, *_ in spark.STAGES]
    with tempfile.TemporaryDirectory() as folder:
        run = begun(folder)
        assert trained(run, 119.0) == names
        assert trained(run, 119.0) == []
        run.minutes = 480
        run.seconds, run.stage_step = 330 * 60.0, 1
        ran = trained(run, 3000.0)
        assert set(ran) == {"student"} and len(ran) > 1, ran


def another_student_begins_at_the_teacher():
    """Without a teacher, or with one that has not ended, it is refused; else it has the minutes that it was given."""
    with tempfile.TemporaryDirectory() as folder:
        short = {"quick": False, "minutes": None, "student_minutes": 4.5}
        assert "is not there" in refused(folder, **short)
        run = begun(folder, quick=False, minutes=100)
        run.entered, run.seconds = "teacher", 60.0 * 71
        run.save()
        assert "let it end" in refused(folder, **short)
        run.seconds = 60.0 * 73
        torch.nn.init.constant_(run.average["teacher"].conv_in.bias, 0.5)
        run.save()
        student = begun(folder, **short)
        assert student.path != run.path and student.output("student", True) == os.path.join(folder, "student-4.5-minutes")
        ran = trained(student, 30.0)
        assert set(ran) == {"student"} and 9 <= len(ran) <= 10, ran
        assert torch.equal(student.student.conv_in.bias, run.average["teacher"].conv_in.bias)
        student.save()
        resumed = begun(folder, **short)
        assert resumed.progress() >= 1 and resumed.entered == "student"


def only_a_finished_student_is_the_model():
    with tempfile.TemporaryDirectory() as folder:
        whole = begun(folder, quick=False)
        inside = os.path.join(folder, "student")
        assert whole.output("student") == inside and whole.output("student", final=True) == training.SPARK
        assert begun(folder).output("student", final=True) == inside
        named = begun(folder, quick=False, output="elsewhere")
        assert named.output("student") == inside and named.output("student", final=True) == "elsewhere"


def the_pool_fits_and_is_filled_again():
    """As many pictures as the memory has room for, in whole renewals; a resumed run draws what it had."""
    every = training.GPU.renew[1]
    for room, kept in ((10**6, 2048), (1000, 1000 // every * every), (40, training.GPU.first)):
        assert training.GPU.kept(room * pool.PICTURE_BYTES) == kept
    store = pool.Pool(1, torch.device("cpu"), 2, 0).store
    assert store.nbytes == 2 * pool.PICTURE_BYTES
    with tempfile.TemporaryDirectory() as folder:
        run = begun(folder)
        run.step, run.pool.capacity = 36, 4
        run.fill()
        assert len(run.pool) == 4 and SMALL.drawn(36) == 5


def diffusers_takes_the_strengths_own_steps():
    """Where it can, the timesteps are those of diffusion.py, which are turbocam's; where it cannot, it is refused."""
    scheduler = diffusion.scheduler()
    for strength, steps in ((0.5, 1), (0.5, 4), (0.02, 1), (1.0, 1), (0.3, 3), (0.6, 3), (0.7, 7), (0.8, 4), (0.29, 29)):
        asked = evaluate.inference(steps, strength)
        whole = asked["num_inference_steps"]
        # As StableDiffusionXLImg2ImgPipeline.get_timesteps.
        count = min(int(whole * asked["strength"]), whole)
        scheduler.set_timesteps(whole)
        assert scheduler.timesteps[whole - count :].tolist() == diffusion.timesteps(strength, steps), (strength, steps)
    for strength in (0.3, 0.4, 0.6, 0.7, 0.75, 0.8):
        try:
            evaluate.inference(1, strength)
        except ValueError as error:
            assert "Strengths near it" in str(error)
        else:
            raise AssertionError(f"one step at {strength} was taken")
