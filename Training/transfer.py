"""Numbers on their way to the device, for which nobody waits.

A copy from ordinary memory to a GPU holds the processor up until the GPU has come so far; with a dozen of them in a
training step, the GPU has nothing to do while the next kernels are sent. A copy from pinned memory waits its turn
among the kernels.
"""

import functools

import torch


def send(values, device):
    """A tensor of `values`, a tensor or lists of numbers, on the device."""
    x = torch.as_tensor(values)
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)


@functools.cache
def constant(values, device):
    """The same for a tuple that is needed again and again: it is sent once."""
    return send(values, device)
