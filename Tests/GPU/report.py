"""report.json and report.md of what Tests/GPU/check found, in this call and in those before it."""

import json
import time

TIMES = ["gpu_ms", "gpu_p99_ms", "host_ms", "host_p99_ms"]


def write(folder, parts, simulated):
    folder.mkdir(parents=True, exist_ok=True)
    head = {
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()), "simulated": simulated,
        "passed": all(part.get("passed") for part in parts.values()),
    }
    (folder / "report.json").write_text(json.dumps(head | {"parts": parts}, indent=1))
    (folder / "report.md").write_text(readable(head, parts))


def readable(head, parts):
    info = parts.get("info", {})
    lines = [f"# {', '.join(info.get('gpus', [])) or 'No GPU'}, {head['date']} UTC", ""]
    if head["simulated"]:
        lines += ["Simulated: nothing here is a time of a GPU.", ""]
    lines += [f"Driver {info.get('driver')}; NVRTC {info.get('nvrtc')}; cuBLASLt {info.get('cublaslt')}.", ""]
    lines += ["| part | result | seconds |", "|---|---|---|"]
    for name, part in parts.items():
        word = "passed" if part.get("passed") else "**failed**"
        notes = [str(part[key])[:200] for key in ("error", "skipped") if key in part] + counted(part)
        lines.append(f"| {name} | {word} {'; '.join(notes)} | {part.get('seconds', '')} |")
    for name, part in parts.items():
        lines += details(name, part)
    return "\n".join(lines) + "\n"


def counted(part):
    """Cases, and those that there was no time for."""
    if "cases" not in part:
        return []
    left_out = f", {part['untried']} not tried for want of time" if part.get("untried") else ""
    return [f"{part['passed_cases']} of {part['cases']} cases passed, {part['failed_cases']} failed{left_out}"]


def number(value):
    return f"{value:.4g}" if isinstance(value, (int, float)) else "" if value is None else str(value)


def table(title, rows, head):
    lines = ["", f"## {title}", "", "| | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|"]
    for key, row in rows.items():
        lines.append(f"| {key} | " + " | ".join(number(row.get(column)) for column in head) + " |")
    return lines


def rows_of(part):
    return {key: value for key, value in part.items() if isinstance(value, dict)}


def details(name, part):
    kind = name.split(" ")[0]
    if kind == "parity":
        return parity(name, part)
    if kind == "time":
        return times(name, part)
    if kind == "peers" and rows_of(part):
        return table(name, rows_of(part), TIMES)
    if name == "ratios" and part.get("rows"):
        head = list(dict.fromkeys(key for row in part["rows"].values() for key in row))
        return table(name, part["rows"], head)
    lines = table(f"{name}: the largest error", part["worst"], ["error", "allowed"]) if part.get("worst") else []
    if part.get("failures"):
        lines += ["", f"## {name}: failures", ""] + [f"- {text}" for text in part["failures"]]
    elif not part.get("passed"):
        lines += ["", f"## {name}", "", "```", json.dumps(part, indent=1)[:4000], "```"]
    return lines


def parity(name, part):
    lines = []
    for key, value in rows_of(part).items():
        for title, found in ((key, value), (f"{key}, one kernel after the other", value.get("in_turn"))):
            if not found:
                continue
            if found.get("error"):
                lines += ["", f"## {name} {title}", "", str(found["error"])]
            if "rows" in found:
                head = ["ours", "pytorch", "cosine", "passed"]
                lines += table(f"{name} {title}, PyTorch in {found['peer']}", found["rows"], head)
    return lines


def times(name, part):
    rows = {key: part[key] for key in ("unet", "encode", "decode", "frame") if isinstance(part.get(key), dict)}
    if not rows:
        return ["", f"## {name}", "", str(part.get("error"))]
    lines = table(name, rows, TIMES)
    frame = part.get("frame")
    if not isinstance(frame, dict):
        return lines
    early = "begin" if frame["overlaps_launches"] else "do not begin"
    lines.append(
        f"\nThe frame's ops add up to {frame['ops_ms']:.4g} ms, {frame['ops_ms'] / frame['gpu_ms']:.3f} of its time by "
        f"the GPU's clock; kernels {early} before the one before them has ended."
    )
    for key in ("stages", "kernels"):
        columns = ["ops", "ms", "predicted_ms", "floor_ms"]
        lines += table(f"{name}: {key}", {row["name"]: row for row in frame[key]}, columns)
    return lines


def ratios(parts):
    """Ours beside the floor, in each way, and beside PyTorch's best."""
    rows = {}
    for name, ours in parts.items():
        words, frame = name.split(" "), ours.get("frame")
        if words[0] != "time" or not isinstance(frame, dict):
            continue
        peers = parts.get(f"peers {words[1]}", {})
        row = {key: frame.get(key) for key in ("gpu_ms", "host_ms", "floor_ms", "predicted_ms")}
        if frame.get("gpu_ms") and frame.get("floor_ms"):
            row["over_floor"] = frame["gpu_ms"] / frame["floor_ms"]
            row["over_predicted"] = frame["gpu_ms"] / frame["predicted_ms"]
        for peer in ("eager frame", "compiled frame"):
            if isinstance(peers.get(peer), dict):
                row[peer] = peers[peer].get("host_ms")
                row["faster than " + peer] = peers[peer]["host_ms"] / frame["host_ms"]
        rows[" ".join(words[1:])] = row
    return rows
