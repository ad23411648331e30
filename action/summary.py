#!/usr/bin/env python3
"""Says how a publish, or a check, went: the action's outputs, the job's summary in Markdown, and annotations.

    INPUT_PRODUCT=… VERSION=… summary.py SAID ERRORS STATUS

SAID is the file with what `updraft publish --json` or `updraft image check --json` printed, ERRORS what it said on standard error,
STATUS its exit code. Ends with 0 if the image is published (and its rollout is done, if that was waited for), or would be. Texts in
them come from images and servers: they are escaped wherever they go.
"""

import json
import os
import sys

BARS = "▁▂▃▄▅▆▇█"
GOOD = ("published", "unchanged", "pass")
NOTHING = {"decision": "failed", "findings": [], "trend": []}


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def outcome(text):
    """What the command printed; a decision `failed` where it ended before it had any."""
    try:
        said = json.loads(text)
    except ValueError:
        return dict(NOTHING)
    return {**NOTHING, **said} if isinstance(said, dict) else dict(NOTHING)


# --- annotations ---


def data(text):
    return str(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def annotation(level, title, text):
    title = data(title).replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={title}::{data(text)}"


def annotations(said, errors):
    findings = spoken(said)
    lines = [annotation("warning", f"updraft {f['check']}", f["sentence"]) for f in findings if not refuses(f)]
    refusals = [annotation("error", f"updraft {f['check']}", f["sentence"]) for f in findings if refuses(f)]
    if not refusals and said["is_bad"]:
        refusals = [annotation("error", "updraft", last_sentence(errors) or "updraft ended without a word.")]
    return lines + refusals


def last_sentence(errors):
    """Why it ended: what was said before that, while it waited, is in the log."""
    lines = errors.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("updraft: ")]
    return "\n".join(lines[starts[-1] :] if starts else lines).removeprefix("updraft: ")


def spoken(said):
    """Without the warnings that a person asked not to hear."""
    return [f for f in said["findings"] if f["level"] == "refuse" or not f.get("allowed")]


def refuses(finding):
    return finding["level"] == "refuse" and not finding.get("allowed")


# --- the summary ---


def markdown(text):
    """Text as it is: nothing in it becomes a table, a link, a picture or HTML."""
    text = " ".join(str(text).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{c}" if c in "\\`*_{}[]()#+!|~-" else c for c in text).replace("@", "&#64;")


def code(text):
    return "`" + " ".join(str(text).split()).replace("`", "'").replace("|", "\\|") + "`"


def size(count):
    return f"{count:,} bytes ({count / (1 << 20):.2f} MiB)"


def headline(said):
    release = " ".join(code(said[name]) for name in ("product", "version") if said.get(name))
    channel = said.get("promoted")
    promoted = f", and {code(channel)} points to it" if channel else ""
    if "rollout" in said:
        promoted += f", and {rollout_in_words(said['rollout'])}"
    return {
        "published": f"{release} is published{promoted}",
        "unchanged": f"{release} was published already, with these very bytes{promoted}",
        "refused": f"{release} is refused",
        "pass": f"{release} would be published",
    }.get(said["decision"], f"{release} was not published")


def rollout_in_words(rollout):
    if not isinstance(rollout, dict):
        return "no rollout of it began"
    return f"its rollout is {code(rollout.get('state'))}"


def devices(rollout):
    """Where the devices of a rollout are: those that succeeded first, then wherever there are any."""
    counts = rollout.get("counts")
    counts = {name: n for name, n in counts.items() if isinstance(n, int)} if isinstance(counts, dict) else {}
    others = [f"{n:,} {code(name)}" for name, n in counts.items() if n and name not in ("total", "succeeded")]
    return ", ".join([f"{counts.get('succeeded', 0):,} of {counts.get('total', 0):,} devices succeeded", *others])


def facts(said):
    rows = []
    if isinstance(count := said.get("size"), int):
        text = size(count)
        if isinstance(slot := said.get("slot_bytes"), int) and slot > 0:
            text += f", {100 * count / slot:.1f} % of the smallest slot ({slot:,} bytes)"
        rows.append(("size", text))
    if chip := said.get("chip"):
        rows.append(("chip", code(chip)))
    if digest := said.get("sha256"):
        rows.append(("SHA-256", code(digest)))
    if url := said.get("url"):
        rows.append(("release", f"<{url}>" if is_link(url) else code(url)))
    if isinstance(rollout := said.get("rollout"), dict):
        rows.append(("rollout", f"{code(rollout.get('id'))}: {devices(rollout)}"))
    return table(("", ""), rows) if rows else []


def is_link(url):
    return str(url).startswith(("http://", "https://")) and not set(str(url)) & set(" <>|\\\"'`\r\n\t")


def table(head, rows):
    lines = [head, ("---",) * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def trend(said):
    """The sizes of the last releases and of this image: a line to look at, and the figures."""
    points = [p for p in said["trend"] if isinstance(p, dict) and isinstance(p.get("size"), int)]
    # What is no image has no place among them.
    if len(points) < 2 or not said.get("chip"):
        return []
    sizes = [p["size"] for p in points]
    low, high = min(sizes), max(sizes)
    step = (high - low) / (len(BARS) - 1) or 1
    line = "".join(BARS[round((value - low) / step)] for value in sizes)
    rows = []
    for number, point in enumerate(points):
        change = f"{sizes[number] - sizes[number - 1]:+,}" if number else ""
        rows.append((code(point.get("version") or "this one"), f"{sizes[number]:,}", change))
    return [f"**Size** {line}", "", *table(("version", "bytes", "change"), rows)]


def found(said):
    rows = []
    for finding in spoken(said):
        if refuses(finding):
            verdict = "❌ refused"
        elif finding["level"] == "refuse":
            verdict = "⚠️ allowed"
        else:
            verdict = "⚠️ warning"
        rows.append((verdict, code(finding["check"]), markdown(finding["sentence"])))
    return table(("", "check", "what the gate found"), rows) if rows else []


def summary(said, errors):
    lines = [f"### {headline(said)}", "", *facts(said), *trend(said), *found(said)]
    if said["is_bad"] and errors:
        lines += ["> " + markdown(line) for line in last_sentence(errors).splitlines()] + [""]
    return "\n".join(lines) + "\n"


# --- where it goes ---


def outputs(said):
    """Values of one line each: anything else is no value of ours."""
    for name in ("url", "sha256", "decision", "version"):
        yield f"{name}={''.join(str(said.get(name) or '').splitlines())}"


def append(variable, text):
    with open(os.environ[variable], "a", encoding="utf-8", newline="\n") as file:
        file.write(text)


def main(said_path, errors_path, status):
    asked = {"product": os.environ.get("INPUT_PRODUCT"), "version": os.environ.get("VERSION")}
    said, errors = {**asked, **outcome(read(said_path))}, read(errors_path).strip()
    is_good = int(status) == 0 and said["decision"] in GOOD
    # What is published stays so, whatever its rollout came to.
    has_waited = "rollout" in said and said["decision"] in ("published", "unchanged")
    if not is_good and said["decision"] != "refused" and not has_waited:
        said["decision"] = "failed"
    said["is_bad"] = not is_good
    append("GITHUB_OUTPUT", "".join(line + "\n" for line in outputs(said)))
    append("GITHUB_STEP_SUMMARY", summary(said, errors))
    for line in annotations(said, errors):
        print(line)
    return 0 if is_good else 1


if __name__ == "__main__":
    # Windows would write its own code page.
    sys.stdout.reconfigure(encoding="utf-8")
    sys.exit(main(*sys.argv[1:]))
