"""Shared by all writers: a folder's tensors and cases, their errors, and inputs drawn from seeds."""

import bpe
import diffusers
import numpy as np
import torch
import transformers
from safetensors.torch import save_file


class Outputs:
    """The tensors and cases of one folder, and how a case is measured."""

    def __init__(self, folder, class_name):
        self.folder = folder
        versions = {module.__name__: module.__version__ for module in (torch, diffusers, transformers)}
        self.index = {"pipeline": {"name": folder.name, "class": class_name, "versions": versions}}
        self.index["prompts"] = []
        self.index["cases"] = []
        self.tensors = {}

    def put(self, name, tensor):
        if not tensor.dtype.is_floating_point and tensor.dtype != torch.uint8:
            tensor = tensor.to(torch.int32)
        if tensor.dtype.is_floating_point:
            tensor = tensor.float()
            assert torch.isfinite(tensor).all(), name
        assert name not in self.tensors, name
        self.tensors[name] = tensor.detach().clone().contiguous()
        return name

    def case(self, name, module, inputs, outputs, **more):
        case = {"name": name, "module": module, "inputs": inputs, "outputs": outputs, **more}
        self.index["cases"].append(case)
        return case

    def write(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "outputs.safetensors"
        save_file(self.tensors, path)
        path.chmod(0o644)
        bpe.write_json(self.folder / "outputs.json", self.index, indent=1)


def relative_error(tensor, reference):
    tensor, reference = tensor.double(), reference.double()
    return float(f"{(tensor - reference).norm() / reference.norm():.4g}")


def errors(tensors, references):
    return {role: relative_error(tensors[role], references[role]) for role in references}


def cast(value, dtype):
    """Casts the floating-point tensors of nested arguments."""
    if isinstance(value, torch.Tensor):
        return value.to(dtype) if value.dtype.is_floating_point else value
    if isinstance(value, (list, tuple)):
        return type(value)(cast(item, dtype) for item in value)
    if isinstance(value, dict):
        return {key: cast(item, dtype) for key, item in value.items()}
    return value


def write_measured(outputs, prefix, module, inputs, results, **more):
    reference = results[torch.float32]
    bf16 = errors(results[torch.bfloat16], reference)
    outputs.case(
        prefix,
        module,
        inputs,
        {role: outputs.put(f"{prefix}.{role}", tensor) for role, tensor in reference.items()},
        bf16_error=bf16,
        bf16_chain_error=bf16,
        f32_error=errors(reference, results[torch.float64]),
        **more,
    )


# Inputs


def seeded(*shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def picture(width, height):
    """Gradients, a disc, bars and a checkerboard, in integers alone: U8 [height, width, 3]."""
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    red, green = 255 * x // (width - 1), 255 * y // (height - 1)
    blue = (x * 3 + y * 5) % 256
    image = np.stack([red, green, blue], axis=-1)
    radius = min(width, height) // 4
    disc = (x - width // 3) ** 2 + (y - height // 2) ** 2 < radius**2
    image[disc] = (230, 60, 20)
    checks = (x > 2 * width // 3) & (y > height // 2) & ((x // 4 + y // 4) % 2 == 0)
    image[checks] = (10, 20, 30)
    image[height // 8 : height // 8 + 3] = (250, 250, 240)
    return torch.from_numpy(image.astype(np.uint8))


def to_signed(image):
    """U8 [H, W, 3] to [1, 3, H, W] in [-1, 1], in VaeImageProcessor's order of operations."""
    return 2.0 * (image.permute(2, 0, 1)[None].float() / 255.0) - 1.0
