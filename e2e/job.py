#!/usr/bin/env python3
"""Runs a composite action as GitHub's runner does: reads its action.yml, resolves the expressions, runs each step in bash, and
obeys the workflow commands in what they print. What action.yml says wrongly therefore fails here.

    job.py ACTION_FOLDER REQUEST      REQUEST: {"with": {}, "github": {}, "env": {}, "workspace": …, "temp": …, "tool_cache": …}

Prints {"ok", "log", "outputs", "summary", "paths", "annotations": [{"level", "title", "text"}]}. The log is masked, as people see it.
"""

import json
import os
import pathlib
import re
import subprocess
import sys

import yaml

COMMAND = re.compile(r"::([a-z-]+)(?: ([^:]*))?::(.*)")
EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")


class Wrong(Exception):
    """The action itself is wrong."""


def main(folder, request):
    action = yaml.safe_load((pathlib.Path(folder) / "action.yml").read_text())
    job = Job(pathlib.Path(folder), action, json.loads(request))
    job.run()
    print(json.dumps(job.report()))


class Job:
    def __init__(self, folder, action, request):
        self.folder, self.action, self.request = folder, action, request
        self.workspace, self.temp = request["workspace"], pathlib.Path(request["temp"])
        self.inputs = inputs(action, request["with"])
        self.steps, self.masks, self.annotations, self.log, self.paths = {}, [], [], [], []
        self.fence, self.ok, self.summary = None, True, ""

    def run(self):
        if self.action["runs"]["using"] != "composite":
            raise Wrong("it is not a composite action")
        for number, step in enumerate(self.action["runs"]["steps"]):
            unknown = set(step) - {"name", "id", "shell", "env", "run", "if", "working-directory"}
            if unknown or "shell" not in step or "run" not in step:
                raise Wrong(f"step {number} has {sorted(step)}")
            # Without `if`, a step runs only while all is well.
            if self.ok:
                self.step(number, step)

    def step(self, number, step):
        script = self.temp / f"step-{number}.sh"
        script.write_text(self.resolve(step["run"]))
        files = {name: self.temp / f"{name}-{number}" for name in ("OUTPUT", "STEP_SUMMARY", "ENV", "PATH", "STATE")}
        for file in files.values():
            file.write_text("")
        env = {**os.environ, **self.request["env"], **self.github()}
        env |= {f"GITHUB_{name}": str(file) for name, file in files.items()}
        env |= {name: self.resolve(value) for name, value in step.get("env", {}).items()}
        env["PATH"] = os.pathsep.join([*reversed(self.paths), env["PATH"]])
        shell = {"bash": ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail"]}[step["shell"]]
        process = subprocess.Popen(
            [*shell, str(script)], env=env, cwd=self.workspace, text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        for line in process.stdout:
            self.read(line.rstrip("\r\n"))
        self.ok = process.wait() == 0
        self.fence = None
        self.steps[step.get("id", str(number))] = assignments(files["OUTPUT"].read_text())
        self.summary += files["STEP_SUMMARY"].read_text()
        self.paths += files["PATH"].read_text().splitlines()

    def github(self):
        given = {"actions": "true", "action_path": str(self.folder), "workspace": self.workspace, **self.request["github"]}
        variables = {f"GITHUB_{name.upper()}": value for name, value in given.items()}
        temp, cache = str(self.temp), self.request["tool_cache"]
        return {
            **variables, "CI": "true", "RUNNER_TEMP": temp, "RUNNER_TOOL_CACHE": cache, "RUNNER_OS": "Linux", "RUNNER_ARCH": "X64",
            **self.request.get("runner", {}),
        }  # fmt: skip

    # --- expressions ---

    def resolve(self, text):
        return EXPRESSION.sub(lambda match: self.value(match[1]), str(text))

    def value(self, expression):
        for part in expression.split("||"):
            if found := self.term(part.strip()):
                return found
        return ""

    def term(self, path):
        match path.split("."):
            case ["inputs", name]:
                if name not in self.inputs:
                    raise Wrong(f"there is no input {name}")
                return self.inputs[name]
            case ["steps", step, "outputs", name]:
                ids = [known.get("id") for known in self.action["runs"]["steps"]]
                if step not in ids:
                    raise Wrong(f"there is no step {step}")
                return self.steps.get(step, {}).get(name, "")
            case ["github", name] if name in {"action_ref", "action_repository"}:
                return self.request["github"].get(name, "")
        raise Wrong(f"cannot resolve {path}")

    # --- workflow commands ---

    def read(self, line):
        if self.fence is not None:
            if line == f"::{self.fence}::":
                self.fence = None
            else:
                self.say(line)
            return
        command = COMMAND.fullmatch(line)
        match command and command[1]:
            case "stop-commands":
                self.fence = command[3]
            case "add-mask":
                self.masks.append(unescape(command[3]))
                self.log.append("::add-mask::***")
            case "error" | "warning" | "notice":
                title = dict(pair.split("=", 1) for pair in (command[2] or "").split(",") if pair).get("title", "")
                title = title.replace("%3A", ":").replace("%2C", ",")
                self.annotations.append({"level": command[1], "title": unescape(title), "text": unescape(command[3])})
                self.say(line)
            case None:
                self.say(line)
            case other:
                raise Wrong(f"a workflow command that nobody should give here: {other}")

    def say(self, line):
        for secret in self.masks:
            line = line.replace(secret, "***")
        self.log.append(line)

    def report(self):
        declared = self.action.get("outputs", {})
        return {
            "ok": self.ok,
            "log": "\n".join(self.log),
            "outputs": {name: self.resolve(output["value"]) for name, output in declared.items()},
            "summary": self.summary,
            "paths": self.paths,
            "annotations": self.annotations,
        }


def inputs(action, given):
    declared = action.get("inputs", {})
    if unknown := set(given) - set(declared):
        raise Wrong(f"no such inputs: {sorted(unknown)}")
    if missing := [name for name, about in declared.items() if about.get("required") and name not in given]:
        raise Wrong(f"inputs that are required: {missing}")
    for name, about in declared.items():
        if not isinstance(about.get("default", ""), str):
            raise Wrong(f"the default of {name} is {about['default']!r}, and a runner knows text only")
    return {name: given.get(name, about.get("default", "")) for name, about in declared.items()}


def assignments(text):
    """NAME=VALUE lines, and NAME<<END blocks."""
    found, lines = {}, iter(text.splitlines())
    for line in lines:
        name, equals, value = line.partition("=")
        if equals and "<<" not in name:
            found[name] = value
        elif "<<" in line:
            name, _, end = line.partition("<<")
            found[name] = "\n".join(iter(lambda: next(lines), end))
        elif line:
            raise Wrong(f"a runner cannot read this output: {line}")
    return found


def unescape(text):
    return text.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")


if __name__ == "__main__":
    main(*sys.argv[1:])
