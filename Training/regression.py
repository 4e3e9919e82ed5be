"""What the committed model must not fall below: on two held-out photographs in three crops, how surely the judge names
each style, and how much of the scene is kept.

    python regression.py RUN_FOLDER STUDENT_FOLDER OUTPUT

Writes judge.safetensors and baseline.json to OUTPUT (Tests/Training), of which Tests/Training/check.py measures again.
"""

import argparse
import json
import os

import torch
from safetensors.torch import load_file, save_file

import data
import evaluate
import figures
import judge
import styles
import words

SEEDS = (1, 2, 3)
WEIGHTS, BASELINE = "judge.safetensors", "baseline.json"


def load_judge(folder):
    """In half precision on disk: a classifier needs no more."""
    classifier = judge.Judge().eval()
    weights = load_file(os.path.join(folder, WEIGHTS))
    classifier.load_state_dict({name: value.float() for name, value in weights.items()})
    return classifier


@torch.no_grad()
def measure(pipe, classifier, prompt=lambda name: words.plain(name).prompt):
    """{"styles": mean probability that the judge gives each style, "structure": SSIM with the photographs}."""
    scores, kept = {}, []
    photographs = evaluate.held_out()
    for number, name in enumerate(styles.NAMES):
        given = []
        for picture in photographs:
            for seed in SEEDS:
                made = data.tensor(evaluate.repaint(pipe, picture, prompt(name), seed=seed))[None]
                given.append(classifier(made)[1].softmax(1)[0, number])
                kept.append(figures.ssim(made, data.tensor(picture)[None]))
        scores[name] = round(float(torch.stack(given).mean()), 4)
    return {"styles": scores, "structure": round(float(torch.stack(kept).mean()), 4)}


def fallen(now, before, share=0.1):
    """The names of what is lower than before by more than `share` of it."""
    names = [name for name, score in before["styles"].items() if now["styles"][name] < (1 - share) * score]
    return names + ["structure"] * (now["structure"] < (1 - share) * before["structure"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("run", "student", "output"):
        parser.add_argument(name)
    options = parser.parse_args()
    weights = torch.load(os.path.join(options.run, "judge.pt"), map_location="cpu")["judge"]
    save_file({name: value.half().contiguous() for name, value in weights.items()}, os.path.join(options.output, WEIGHTS))
    found = measure(evaluate.load(options.student), load_judge(options.output))
    with open(os.path.join(options.output, BASELINE), "w", encoding="utf-8") as f:
        json.dump(found, f, indent=2)
        f.write("\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
