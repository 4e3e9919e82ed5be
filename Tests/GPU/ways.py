"""Ways in which the same model is computed, of which each has to be right before it is timed."""

import json

# Name: (variables of the environment, what linear layers behind a layer norm are multiplied in).
WAYS = {
    "standard": ({}, "f16"),
    "warpgroups": ({"TURBOCAM_TUNING": "warpgroups"}, "f16"),
    "f8": ({}, "f8"),
    "f8-warpgroups": ({"TURBOCAM_TUNING": "warpgroups"}, "f8"),
}
# Kernels one after the other, where a driver would begin the next one early.
IN_TURN = {"TURBOCAM_OVERLAP": "0"}


def way(name, environment):
    """What to set, and the format of linear layers. Where nothing is measured, one tile is as good as another."""
    variables, linears = WAYS[name]
    if variables and environment.get("TURBOCAM_TUNING") == "0":
        variables = {"TURBOCAM_TUNING": "warpgroups:4"}
    return variables, linears


def read_lines(output):
    """The members of all JSON objects, one a line, of which the last may be torn."""
    found = {}
    for line in output.splitlines():
        if not line.startswith("{"):
            continue
        try:
            found |= json.loads(line)
        except ValueError:
            found["torn"] = line[:200]
    return found
