"""A training run: the networks, their averages and optimizers, the pictures, and the checkpoint that holds them."""

import copy
import functools
import os
import random
import shutil
import sys
import time
from dataclasses import dataclass

import torch

import autoencoder
import diffusion
import evaluate
import export
import judge
import pool
import student
import text

HERE = os.path.dirname(os.path.abspath(__file__))
SPARK = os.path.join(HERE, "..", "Fixtures", "models", "spark")
FAST = {"betas": (0.9, 0.99)}
COUNTS = ("seconds", "step", "stage_step", "entered")
MINUTES = 330  # of a run that was not told
STUDENT_FROM = 0.72  # share of the whole time at which the teacher ends
POOL_SHARE = 0.25  # of a GPU's free memory, at most; networks, gradients and compiled kernels need the rest


@dataclass
class Size:
    """How much at once: crops' side and number, pictures kept, how often new ones come, pictures before the first step."""
    side: int
    pictures: int
    crops: tuple  # (share of the stage, side, number), small and quick first
    capacity: int
    renew: tuple  # (steps, new pictures after so many); the pictures divide the capacity
    first: int
    workers: int

    def crop(self, done):
        return next((side, n) for end, side, n in self.crops if done <= end)

    def kept(self, free):
        """Pictures of the pool in so many bytes: whole renewals, at most `capacity` and at least those of the start."""
        every = self.renew[1]
        return max(self.first, min(self.capacity, int(free) // pool.PICTURE_BYTES // every * every))

    def drawn(self, step):
        """How many a run had drawn by a step; what a resumed one begins with."""
        every, count = self.renew
        return self.first + step // every * count


CPU = Size(128, 16, ((0.85, 128, 8), (9, 192, 4)), 192, (12, 1), 24, 0)
GPU = Size(128, 128, ((0.6, 128, 128), (9, 256, 48)), 2048, (16, 16), 128, 12)


class Run:
    def __init__(self, options):
        self.options = options
        self.device = torch.device(options.device)
        self.size = GPU if self.device.type == "cuda" else CPU
        self.halves = multiplies_halves(self.device)
        self.layout = layout(self.device, self.halves)
        self.folder = options.runs or os.path.join(HERE, "runs", "quick" if options.quick else "spark")
        os.makedirs(self.folder, exist_ok=True)
        self.vocabulary = os.path.join(self.folder, "vocabulary")
        torch.manual_seed(0)
        self.minutes = options.minutes or MINUTES
        self.seconds, self.step, self.stage_step, self.entered, self.stopped = 0.0, 0, 0, None, False
        state = self.load()
        self.pieces = self.known(state) or text.make_vocabulary()
        self.build(text.write_vocabulary(self.vocabulary, self.pieces))
        self.tokenizers = text.tokenizers(self.vocabulary)
        if state:
            self.restore(state)
        self.seed()
        self.pool = pool.Pool(self.step, self.device, self.capacity(), self.size.workers)

    def seed(self):
        self.rng = random.Random(self.step)
        torch.manual_seed(self.step + 1)

    def build(self, vocabulary):
        def placed(model):
            return model.to(self.device, memory_format=self.layout)

        self.vae, self.teacher = placed(autoencoder.build()), placed(diffusion.build())
        self.student = copy.deepcopy(self.teacher)
        self.discriminator = placed(student.Discriminator(student.channels(self.teacher)))
        self.judge = placed(judge.Judge())
        self.encoders = torch.nn.ModuleList(text.build(vocabulary)).to(self.device)
        self.head = text.StyleHead().to(self.device)
        self.average = {name: copy.deepcopy(model).requires_grad_(False) for name, model in
                        (("vae", self.vae), ("teacher", self.teacher), ("student", self.student))}
        self.features = student.Features(self.average["teacher"])
        self.optimizers = {
            "autoencoder": adam((self.vae, 2e-3), weight_decay=0),
            "text": adam((self.encoders, 1e-3), (self.head, 1e-3)),
            "judge": adam((self.judge, 2e-3)),
            "teacher": adam((self.teacher, 1e-3), (self.encoders, 3e-4), (self.head, 3e-4)),
            "student": torch.optim.AdamW([{"params": self.student.parameters(), "peak": 2e-4}], betas=(0.0, 0.99),
                                         weight_decay=0.0, fused=True),
            "discriminator": torch.optim.AdamW([{"params": self.discriminator.parameters(), "peak": 1e-3}],
                                               betas=(0.0, 0.99), weight_decay=0.0, fused=True)}
        self.compiled = self.device.type == "cuda"
        if self.compiled:
            self.compile()

    def compile(self):
        """Each network by the name that it is called by, once for each size of crops: with sizes left open kernels are
        slower. Without isolate_recompiles all of them together may be compiled eight times. The discriminator is left
        out, since compiled networks have no second derivatives, which R1 needs; the text encoders are very small."""
        vaes = (self.vae, self.average["vae"])
        for part in (*(v.encoder for v in vaes), *(v.decoder for v in vaes), self.judge, self.teacher,
                     self.average["teacher"], self.features, self.student):
            part.compile(dynamic=False, isolate_recompiles=True)

    def capacity(self):
        if self.device.type != "cuda":
            return self.size.capacity
        free, _ = torch.cuda.mem_get_info(self.device)
        return self.size.kept(POOL_SHARE * free)

    def fill(self):
        """The pool as it was: a resumed run draws as many pictures as it had, not the few of a start."""
        goal = min(self.size.drawn(self.step), self.pool.capacity)
        print(f"drawing {goal} pictures, a second or so each on a processor; the clock starts afterwards", flush=True)
        while len(self.pool) < goal and not self.stopped:
            self.pool.renew(self.size.renew[1])

    def parts(self):
        return {"vae": self.vae, "teacher": self.teacher, "student": self.student, "discriminator": self.discriminator,
                "judge": self.judge, "encoders": self.encoders, "head": self.head,
                **{f"average_{name}": model for name, model in self.average.items()},
                **{f"optimizer_{name}": optimizer for name, optimizer in self.optimizers.items()}}

    @property
    def variant(self):
        """What is said of another student than the run's own, "" for that one."""
        without, minutes = self.options.without, self.options.student_minutes
        return (f"-without-{without}" if without else "") + (f"-{minutes:g}-minutes" if minutes else "")

    @property
    def path(self):
        """Another student has a checkpoint of its own; it begins from the common teacher's."""
        return os.path.join(self.folder, f"{self.variant[1:]}.pt" if self.variant else "spark.pt")

    def state(self):
        state = {name: part.state_dict() for name, part in self.parts().items()}
        state |= {name: getattr(self, name) for name in (*COUNTS, "minutes", "whole")}
        return state | {"scale": self.vae.config.scaling_factor, "vocabulary": self.pieces}

    def restore(self, state):
        for name, part in self.parts().items():
            if isinstance(part, torch.optim.Optimizer):
                load_optimizer(part, state[name])
            else:
                part.load_state_dict(state[name])
        for name in COUNTS:
            setattr(self, name, state[name])
        self.rescale(state["scale"])

    def save(self):
        torch.save(self.state(), self.path + ".new")
        os.replace(self.path + ".new", self.path)
        if self.entered == "teacher" and not self.variant:
            path = os.path.join(self.folder, "teacher.pt")
            shutil.copy(self.path, path + ".new")
            os.replace(path + ".new", path)

    def load(self):
        """The checkpoint that the run goes on from, none for a new run."""
        state = self.saved(self.path)
        if state and self.options.quick and state["entered"] == "student" and state["seconds"] >= 60 * self.whole:
            print("the last --quick run came to its end: another is begun", flush=True)
            state = None
        return self.begin_student() if not state and self.variant else state

    def known(self, state):
        """The vocabulary of a checkpoint: what was learnt belongs to its numbers, and words.py, of which it was made, may
        have changed since. Those who saved before it was written down have theirs in the run's folder."""
        return state and (state.get("vocabulary") or text.read_vocabulary(self.vocabulary))

    def saved(self, path):
        """A checkpoint, none where there is no file. Rates and stages follow the whole time, so a run has one; those who
        saved before it was written down have to say it."""
        if not os.path.exists(path):
            return None
        state, asked = torch.load(path, map_location=self.device), self.options.minutes
        minutes = state.get("minutes", asked or MINUTES)
        if asked and abs(minutes - asked) > 1e-6:
            sys.exit(f"{path} is of a run with --minutes {minutes:g}, not {asked:g}: go on with --minutes {minutes:g}, or "
                     "begin another run in a folder of its own (--runs FOLDER)")
        self.minutes = minutes
        return state

    def begin_student(self):
        """Another student of a run's teacher. The clock stands where that ended."""
        path = os.path.join(self.folder, "teacher.pt")
        state = self.saved(path)
        if not state:
            sys.exit(f"{path} is not there: another student needs the teacher of a run. Train one first, without --without "
                     "and --student-minutes, or name the folder of one with --runs")
        if state["seconds"] < 60 * self.minutes * STUDENT_FROM:
            sys.exit(f"the teacher in {path} is at minute {state['seconds'] / 60:.0f}, and it ends at "
                     f"{self.minutes * STUDENT_FROM:.0f} of {self.minutes:g}: let it end first, or say the --minutes that "
                     "its run had")
        return state | {"seconds": 60 * self.whole * STUDENT_FROM, "entered": "student", "stage_step": 0}

    def rescale(self, factor):
        for vae in (self.vae, self.average["vae"]):
            vae.register_to_config(scaling_factor=factor)

    def progress(self):
        return self.seconds / (60 * self.whole)

    @property
    def whole(self):
        """Minutes of all stages. A student of so many minutes has the schedule of a run in which they are its share."""
        student = self.options.student_minutes
        return student / (1 - STUDENT_FROM) if student else self.minutes

    def output(self, unet, final=False):
        """The student of a whole run, at its end, is the model; everything else stays in the run's folder."""
        if final and self.options.output:
            return self.options.output
        if final and not self.variant and not self.options.quick:
            return SPARK
        return os.path.join(self.folder, unet + self.variant)

    def write(self, unet, final=False):
        """The folder and a contact sheet of the averaged weights."""
        vae, network, encoders = (copy.deepcopy(m).cpu() for m in (self.average["vae"], self.average[unet], self.encoders))
        folder = self.output(unet, final)
        export.export(vae, network, encoders, self.vocabulary, folder)
        torch.save({"judge": self.judge.state_dict()}, os.path.join(self.folder, "judge.pt"))
        # A teacher's single step is an average of all that could be; what it knows shows after several.
        steps = 4 if unet == "teacher" else 1
        name = f"sheet-{unet}{self.variant}-{int(self.seconds / 60):04d}.png"
        evaluate.sheet(evaluate.load(folder), steps=steps).save(os.path.join(self.folder, name))


def multiplies_halves(device):
    """Whether the device computes quicker in bf16 than in f32. A processor without instructions for it takes twice as
    long; some have such as are slower than those of f32, which only a clock tells."""
    if device.type == "cuda":
        return True
    able = torch.cpu.get_capabilities()
    return any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16")) and quicker_in_halves()


@functools.cache
def quicker_in_halves():
    """The best of a few turns each of a convolution like the networks', with its gradients."""
    cpu = torch.device("cpu")

    def seconds(halves):
        layer = torch.nn.Conv2d(160, 160, 3, padding=1).to(memory_format=layout(cpu, halves))
        pictures = torch.ones(16, 160, 32, 32).to(memory_format=layout(cpu, halves)).requires_grad_()
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=halves):
            result = layer(pictures)
        result.mean().backward()
        return time.perf_counter() - began

    turns = [(seconds(False), seconds(True)) for _ in range(9)]
    wide, halves = (min(times) for times in zip(*turns))
    return halves < wide


def layout(device, halves):
    """What each is quicker in: tensor cores and f32 like channels last, oneDNN's bf16 the plain order."""
    return torch.contiguous_format if halves and device.type == "cpu" else torch.channels_last


def load_optimizer(optimizer, state):
    """An optimizer's state, its moments laid out as the parameters are. They come as they were saved, maybe on a device
    with another layout; fused AdamW goes through parameter and moments by one count, and would refuse or mix them up."""
    optimizer.load_state_dict(state)
    for parameter, values in optimizer.state.items():
        for name in ("exp_avg", "exp_avg_sq"):
            values[name] = torch.empty_like(parameter, requires_grad=False).copy_(values[name])


def adam(*models, weight_decay=0.01):
    """AdamW over (model, peak rate) pairs."""
    groups = [{"params": model.parameters(), "peak": peak} for model, peak in models]
    return torch.optim.AdamW(groups, groups[0]["peak"], weight_decay=weight_decay, fused=True, **FAST)
