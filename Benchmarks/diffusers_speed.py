#!/usr/bin/env python3
"""Times diffusers' image-to-image on the processor, for comparison with `turbocam bench --suite model`.

    python diffusers_speed.py FOLDER [--size 256] [--steps 1] [--strength 0.5] [--runs 20] [--dtype bfloat16]

Prints one JSON object: the middle of the runs in milliseconds, text encoding left out as in a live run.
"""

import argparse
import json
import os
import statistics
import sys
import time

import torch
from diffusers import AutoPipelineForImage2Image
from PIL import Image

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Training"))

import evaluate


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--strength", type=float, default=0.5)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    options = parser.parse_args()
    try:
        inference = evaluate.inference(options.steps, options.strength)
    except ValueError as error:
        parser.error(str(error))

    pipeline = AutoPipelineForImage2Image.from_pretrained(
        options.folder, torch_dtype=getattr(torch, options.dtype))
    pipeline.set_progress_bar_config(disable=True)
    image = Image.linear_gradient("L").resize((options.size, options.size)).convert("RGB")
    encoded = pipeline.encode_prompt("oil painting", do_classifier_free_guidance=False)
    arguments = dict(prompt_embeds=encoded[0], image=image, guidance_scale=0.0, **inference)
    if len(encoded) > 2:
        arguments["pooled_prompt_embeds"] = encoded[2]
    times = []
    with torch.inference_mode():
        for run in range(options.runs + 3):
            began = time.perf_counter()
            pipeline(**arguments)
            if run >= 3:
                times.append(time.perf_counter() - began)
    assert pipeline.num_timesteps == options.steps, f"diffusers ran {pipeline.num_timesteps} steps"
    print(json.dumps({"folder": options.folder, "size": options.size, "steps": options.steps,
                      "dtype": options.dtype, "threads": torch.get_num_threads(),
                      "ms": round(1e3 * statistics.median(times), 1)}))


main()
