"""Trains the embedded model and writes its folder.

    python spark.py --minutes 330     train that long in all, resuming from Training/runs if there is something
    python spark.py --quick           two minutes: every stage runs, the pictures are bad
    python spark.py --without adversarial --student-minutes 5
                                      an ablation: another student of the same teacher, in Training/runs only

Stopped and started again, it goes on where it was. On a CUDA GPU batches, crops and pool are larger and the networks are
compiled, before the clock starts.
"""

import argparse
import copy
import os
import signal
import statistics
import sys
import time

# Threads that wait must sleep, not spin: training shares its cores. Read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

import autoencoder
import run as training
import stages

# Share of the whole time up to which a stage runs. The student begins with what the teacher knows: six minutes on two
# cores teach it dots, tiles and hatching in one step, an hour more the strokes and grain that are drawn at random.
STAGES = (("autoencoder", stages.autoencode, 0.14), ("text", stages.read, 0.15), ("judge", stages.judge, 0.18),
          ("teacher", stages.teach, training.STUDENT_FROM), ("student", stages.distil, 1.0))

LONGEST = 10.0  # seconds that a step may count


class Threads:
    """Tries now and then whether one thread fewer is quicker, as it is where others use a core."""

    TRIAL = 9  # steps; their median is of those that neither start threads nor train the text encoders

    def __init__(self, most):
        self.most, self.best = most, most
        self.begin(most)

    def begin(self, count):
        self.count, self.times = count, []
        torch.set_num_threads(count)

    def took(self, seconds):
        """To be told after each step. A round is half a minute with the best count and a trial of the other."""
        self.times.append(seconds)
        if self.most == 1:
            return
        if self.count == self.best and sum(self.times) > 30:
            self.usual = statistics.median(self.times[-self.TRIAL :])
            self.begin(self.most - 1 if self.best == self.most else self.most)
        elif self.count != self.best and len(self.times) == self.TRIAL:
            if statistics.median(self.times) < self.usual:
                self.best = self.count
            self.begin(self.best)


class Log:
    """A line every 20 seconds: a bar, the stage, the mean of each figure since the last."""

    def __init__(self):
        self.clear()

    def clear(self):
        self.shown, self.sums, self.count = time.monotonic(), {}, 0

    def add(self, run, stage, report):
        for name, value in report.items():
            self.sums[name] = self.sums.get(name, 0.0) + value.detach().float()
        self.count += 1
        if time.monotonic() - self.shown < 20:
            return
        filled = int(30 * min(1.0, run.progress()))
        figures = "  ".join(f"{name} {float(value) / self.count:.4f}" for name, value in self.sums.items())
        print(f"[{'#' * filled}{'.' * (30 - filled)}] {run.seconds / 60:6.1f} min  step {run.step:6d}  {stage}  "
              f"pool {run.pool.written}  {figures}", flush=True)
        self.clear()


def turns(run):
    """The stages that are still to come, each with where it begins: none before the one that was entered last, and none
    that has had its time. One that is new has a turn even where the clock has run past it."""
    names = [stage for stage, *_ in STAGES]
    entered = names.index(run.entered) if run.entered else 0
    start = 0.0
    for number, (stage, step, end) in enumerate(STAGES):
        if number > entered or number == entered and (run.progress() < end or run.stage_step == 0):
            yield stage, step, start, end
        start = end


def rehearse(run):
    """One step of each stage that is still to come, at each size of its crops; then everything is as it was."""
    before = copy.deepcopy(run.state())
    try:
        for _, step, *_ in [*turns(run)]:
            run.stage_step = 0
            for done, *_ in run.size.crops:
                if not run.stopped:
                    step(run, min(done, 1.0))
    finally:
        run.restore(before)
        run.seed()


def prepare(run):
    """Has the networks compiled before the clock starts. What is wrong with a compiler shows now, not hours later."""
    print("compiling; minutes, which do not count", flush=True)
    try:
        rehearse(run)
    except Exception as error:
        reason, *_ = str(error).strip().split("\n\n")
        print(f"training goes on uncompiled, slower: {reason}", flush=True)
        torch.compiler.set_stance("force_eager")
        # What fails now has another cause.
        rehearse(run)


def enter(run, stage):
    """What has to be there before a stage begins."""
    if stage in ("teacher", "student") and run.vae.config.scaling_factor == 1.0:
        run.vae.load_state_dict(run.average["vae"].state_dict())
        sample = run.pool.store[: min(len(run.pool), 8)].flatten(0, 1).float() / 255
        # A size of its own, once.
        with torch.compiler.set_stance("force_eager"):
            run.rescale(autoencoder.measure_scale(run.average["vae"], sample))
    if run.entered != stage:
        run.entered, run.stage_step = stage, 0
    if stage == "student" and run.stage_step == 0:
        run.student.load_state_dict(run.average["teacher"].state_dict())
        run.average["student"].load_state_dict(run.average["teacher"].state_dict())
    print(f"stage {stage}, scaling_factor {run.vae.config.scaling_factor}", flush=True)


def train(run):
    threads, log = Threads(run.options.threads), Log()
    run.fill()
    if run.compiled:
        prepare(run)
    if run.stopped:
        sys.exit(0)
    saved = written = time.monotonic()
    for stage, step, start, end in turns(run):
        enter(run, stage)
        # The teacher as it ended; here, where a run that was stopped at the teacher's last step comes by, too.
        if stage == "student" and run.stage_step == 0 and not run.variant:
            run.write("teacher")
        log.clear()
        while run.progress() < end or run.stage_step == 0:
            began = time.monotonic()
            report = step(run, min(max((run.progress() - start) / (end - start), 0.0), 1.0))
            # A compiled network is compiled again for another number of threads; and it is the GPU that works.
            if not run.compiled:
                threads.took(time.monotonic() - began)
            run.step, run.stage_step = run.step + 1, run.stage_step + 1
            every, count = run.size.renew
            # Once stopped there may be no workers left to draw pictures.
            if stage != "text" and run.step % every == 0 and not run.stopped:
                run.pool.renew(count)
            log.add(run, stage, report)
            # A machine that slept in between did not train.
            run.seconds += min(time.monotonic() - began, LONGEST)
            if run.stopped or time.monotonic() - saved > 120:
                run.save()
                saved = time.monotonic()
            if run.stopped:
                sys.exit(0)
            if stage in ("teacher", "student") and time.monotonic() - written > 60 * run.options.write_every:
                run.write(stage)
                written = time.monotonic()
        run.save()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, help="training time in all, what is resumed counted in (default: 330, "
                        "or what the run was begun with; a run has one)")
    parser.add_argument("--quick", action="store_true", help="the same as --minutes 2 in a folder of its own")
    parser.add_argument("--without", choices=("adversarial", "distillation"), help="leave a loss of the student out")
    parser.add_argument("--student-minutes", type=float, metavar="M", help="another student of the run's teacher, M minutes "
                        "long, in the run's folder")
    parser.add_argument("--output", help="folder of the finished model (default: Fixtures/models/spark; the run's folder "
                        "with --quick, --without or --student-minutes)")
    parser.add_argument("--runs", help="where checkpoints and sheets lie (default: Training/runs)")
    parser.add_argument("--write-every", type=float, default=20, help="minutes between exports to the run's folder, with a "
                        "contact sheet")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    for minutes in (options.minutes, options.student_minutes):
        if minutes is not None and minutes <= 0:
            parser.error(f"{minutes:g} minutes: train for more than 0")
    if options.quick:
        options.minutes = 2
    run = training.Run(options)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: setattr(run, "stopped", True))
    train(run)
    run.write("student", final=True)


if __name__ == "__main__":
    main()
