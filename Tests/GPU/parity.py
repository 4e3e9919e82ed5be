"""Our parts of a model beside PyTorch's in float32, and how far PyTorch in 16 bits strays from it.

    parity.py FOLDER PARTS OUTPUT GPU_CHECK WAYS SECONDS

PARTS: of unet, encode, decode, with commas. WAYS: names of ways.py, with commas; what is not right in one of them is
tried once more with one kernel after the other. SECONDS: that one may take. Prints a JSON object a line, as they come.
"""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import peers
import torch
import ways

# What 16-bit arithmetic of ours may stray, in units of what PyTorch's does.
ALLOWED = 1.5
LARGEST_E4M3 = 448


def write_safetensors(path, tensors):
    header, offset = {}, 0
    for name, tensor in tensors.items():
        end = offset + tensor.numel() * 4
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(tensor.float().contiguous().numpy().tobytes())


def error(found, exact):
    return (torch.linalg.vector_norm(found - exact) / torch.linalg.vector_norm(exact)).item()


def eight_bits(x, largest):
    """Rounded to e4m3 by a scale at which `largest` fits."""
    scale = largest.clamp(min=1e-20) / LARGEST_E4M3
    return ((x.float() / scale).to(torch.float8_e4m3fn).float() * scale).to(x.dtype)


def round_linears(unet):
    """Linear layers behind a layer norm with both operands in e4m3: what ours in eight bits is held against."""

    def round_rows(_module, _arguments, output):
        return eight_bits(output, output.abs().amax(-1, keepdim=True).float())

    for block in unet.modules():
        if type(block).__name__ != "BasicTransformerBlock":
            continue
        own = block.attn1
        readers = [(block.norm1, [own.to_q, own.to_k, own.to_v]), (block.norm2, [block.attn2.to_q])]
        for norm, linears in readers + [(block.norm3, [block.ff.net[0].proj])]:
            for linear in linears:
                shift = torch.nn.functional.linear(norm.bias, linear.weight, linear.bias)
                linear.weight.mul_(norm.weight)
                linear.bias = torch.nn.Parameter(shift, requires_grad=False)
            largest = torch.stack([linear.weight.abs().max() for linear in linears]).max().float()
            for linear in linears:
                linear.weight.copy_(eight_bits(linear.weight, largest))
            norm.weight.fill_(1)
            norm.bias.zero_()
            norm.register_forward_hook(round_rows)
    return unet


def ours(command, variables, limit):
    """What our program tells of a part, and whether it ended well."""
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, timeout=limit, env=os.environ | variables
        )
    except subprocess.TimeoutExpired as late:
        said = late.stdout or b""
        found = ways.read_lines(said if isinstance(said, str) else said.decode(errors="replace"))
        return found | {"error": f"took longer than {limit:g} s"}, False
    found = ways.read_lines(done.stdout)
    if not found.get("outputs"):
        found.setdefault("error", f"ended with {done.returncode}")
    return found, done.returncode == 0


def compare(report, ended_well, output, exact, peer):
    rows = {}
    for name, shape in report["outputs"].items():
        found = torch.frombuffer(bytearray((output / f"{name}.f32").read_bytes()), dtype=torch.float32)
        found = found.reshape(shape).to(peers.DEVICE)
        (output / f"{name}.f32").unlink()
        reference, other = exact[name][0].permute(1, 2, 0), peer[name][0].permute(1, 2, 0)
        row = {"ours": error(found, reference), "pytorch": error(other, reference)}
        row["cosine"] = torch.nn.functional.cosine_similarity(found.flatten(), reference.flatten(), 0).item()
        row["passed"] = row["ours"] <= max(ALLOWED * row["pytorch"], 1e-5)
        rows[name] = row
    passed = ended_well and bool(rows) and all(row["passed"] for row in rows.values())
    return {"passed": passed, "cosine": rows[list(rows)[-1]]["cosine"], "open_s": report["open_s"], "rows": rows}


def parity(folder, part, output, program, names, limit):
    """(way, result) of each way, as they come."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    output.mkdir(parents=True, exist_ok=True)
    shapes = peers.Shapes(folder)
    inputs = shapes.inputs(part)
    path = output / f"{part}.safetensors"
    write_safetensors(path, inputs)
    component = "unet" if part == "unet" else "vae"
    half = torch.bfloat16 if part != "unet" and shapes.is_wide else torch.float16
    takes_eight_bits = part == "unet"
    others = {}
    with torch.inference_mode():
        model = peers.load(folder, component, torch.float32)
        exact = peers.call(model, part, inputs)
        model = model.to(half)
        others["f16"] = str(half).removeprefix("torch."), peers.call(model, part, inputs)
        if takes_eight_bits and any(ways.WAYS[name][1] == "f8" for name in names):
            others["f8"] = "float16, layers in e4m3", peers.call(round_linears(model), part, inputs)
    del model
    if peers.DEVICE == "cuda":
        torch.cuda.empty_cache()
    for name in names:
        variables, linears = ways.way(name, os.environ)
        if linears not in others:
            continue
        title, peer = others[linears]
        command = [program, "part", str(folder), part, str(path), str(output), linears]

        def attempt(more):
            report, ended_well = ours(command, variables | more, limit)
            if "error" in report:
                return {"passed": False, "error": report["error"]}
            return {"peer": title} | compare(report, ended_well, output, exact, peer)

        result = attempt({})
        if not result["passed"]:
            result["in_turn"] = attempt(ways.IN_TURN)
            if result["in_turn"]["passed"]:
                reasons = [result["error"]] if "error" in result else []
                result["error"] = "; ".join(reasons + ["right with one kernel after the other (TURBOCAM_OVERLAP=0)"])
        yield name, result
    path.unlink()


def main():
    passed = True
    folder, output, program = (Path(word) for word in (sys.argv[1], sys.argv[3], sys.argv[4]))
    names, limit = sys.argv[5].split(","), float(sys.argv[6])
    for part in sys.argv[2].split(","):
        try:
            for name, result in parity(folder, part, output, str(program), names, limit):
                passed = passed and result["passed"]
                peers.tell(part if name == "standard" else f"{part} {name}", result)
        except Exception as failure:  # the other parts go on
            passed = False
            peers.tell(part, {"passed": False, "error": f"{type(failure).__name__}: {failure}"})
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
