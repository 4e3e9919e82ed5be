"""One step of every stage on fake tensors of a CUDA device: shapes are worked out and devices must match, nobody may
wait for a copy, nothing is computed, and no GPU is needed. What a step does there is what it does on a real one up to
the gradients; what compiling and half precision do is not seen.

    python Tests/Training/gpu.py
"""

import argparse
import os
import sys
import tempfile
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "Training"))

import diffusers
import torch
import transformers
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

import data
import run as training
import spark
import stages
import student
import transfer


def place(module, device=None, **_):
    """Module.to: fake parameters cannot change their device, so there are new ones."""
    for part in module.modules():
        for store in (part._parameters, part._buffers):
            for name, x in store.items():
                if x is None:
                    continue
                moved = torch.empty(x.shape, dtype=x.dtype, device=device)
                store[name] = torch.nn.Parameter(moved, x.requires_grad) if isinstance(x, torch.nn.Parameter) else moved
    return module


def copied(x, memo):
    """FakeTensor.__deepcopy__: Tensor's own copies the storage, which has no bytes, and the heap breaks later."""
    if id(x) not in memo:
        with torch.no_grad():
            made = torch.empty_like(x)
        memo[id(x)] = torch.nn.Parameter(made, x.requires_grad) if isinstance(x, torch.nn.Parameter) else made
    return memo[id(x)]


class Waits(TorchDispatchMode):
    """Copies between the processor and the GPU that somebody waits for: all but those that transfer.send sends."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        made = function(*arguments, **(options or {}))
        if function in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default):
            places = {x.device.type for x in (*arguments, made) if isinstance(x, torch.Tensor)}
            if len(places) == 2:
                self.found.append("".join(traceback.format_stack()[-6:-1]))
        return made


def send(values, device):
    """In transfer.send's place: there is no pinned memory without a GPU."""
    return torch.empty_like(torch.as_tensor(values), device=device)


def descend(optimizer, loss, *models):
    """Gradients need a GPU's streams."""
    assert loss.device.type == "cuda" and loss.requires_grad
    # A sum of the parameters and the loss fails where one lies elsewhere.
    sum((p.sum() for m in models for p in m.parameters()), loss)


def window(*latents):
    side = int(latents[0].shape[-1] * student.WINDOW) // student.PATCH * student.PATCH
    return [z[..., :side, :side] for z in latents]


def main():
    for module in (torch.nn.Module, diffusers.ModelMixin, transformers.PreTrainedModel):
        module.to = place
    FakeTensor.__deepcopy__ = copied
    torch.nn.Module.compile = lambda module, **_: None
    torch.cuda.mem_get_info = lambda *_: (2**37, 2**37)
    torch.autograd.grad = lambda outputs, inputs, **_: [torch.ones_like(x) for x in inputs]
    torch.utils.data.DataLoader = lambda *_, **__: []
    stages.descend, student.window, transfer.send = descend, window, send
    waits = Waits()
    with tempfile.TemporaryDirectory() as folder, FakeTensorMode(allow_non_fake_inputs=True):
        options = argparse.Namespace(device="cuda", runs=folder, quick=True, minutes=2, without=None, student_minutes=None,
                                     output=None)
        run = training.Run(options)
        assert run.size is training.GPU
        run.pool.incoming = iter([torch.empty(2, 3, data.SIZE, data.SIZE, dtype=torch.uint8)] * training.GPU.first)
        with waits:
            run.fill()
        assert run.pool.store.device.type == "cuda"
        for stage, step, _ in spark.STAGES:
            # Small crops first and large ones later; the text encoders do not learn in every step.
            for run.stage_step, done in ((0, 0.1), (1, 0.9)):
                with waits:
                    report = step(run, done)
                assert all(x.device.type == "cuda" for x in report.values()), f"{stage}: {report}"
    assert not waits.found, waits.found[0]


if __name__ == "__main__":
    main()
