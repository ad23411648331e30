#!/usr/bin/env python3
"""The version of the firmware that a job builds, from its git history: one rule, so that a later build sorts higher.

    the commit has the tag v1.2.3             1.2.3
    5 commits after v1.2.3                    1.2.4-dev.5+gabc1234     before 1.2.4, after 1.2.3
    5 commits after v2.0.0-rc.1               2.0.0-rc.1.dev.5+gabc1234     before 2.0.0-rc.2
    no such tag in the history, 42 commits    0.0.0-dev.42+gabc1234
    tracked files were changed                .dirty behind the build metadata (+gabc1234.dirty)

It counts from the highest version among the tags that the commit contains. The input `version` overrules all of it; a job that
runs for a tag takes that one. Tags that are not SemVer, with or without a v before it, are passed over.

Prints the version; sets the outputs version and tag where a job asks for them.
"""

import os
import re
import subprocess
import sys

LONGEST = 64
NUMBER = r"(?:0|[1-9][0-9]*)"
IDENTIFIER = rf"(?:{NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
SEMVER = re.compile(
    rf"v?({NUMBER})\.({NUMBER})\.({NUMBER})(?:-({IDENTIFIER}(?:\.{IDENTIFIER})*))?(\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?",
    re.ASCII,
)


class Unknown(Exception):
    """A sentence that says why there is no version."""


def parse(text):
    """A SemVer version as (precedence, text without v), or None."""
    match = SEMVER.fullmatch(text)
    if not match or len(text.removeprefix("v")) > LONGEST:
        return None
    before = match[4].split(".") if match[4] else None
    # A release comes after its pre-releases; numbers before words.
    tail = (1,) if before is None else (0, *((0, int(word), "") if word.isdigit() else (1, 0, word) for word in before))
    return (int(match[1]), int(match[2]), int(match[3]), tail), text.removeprefix("v")


def git(*words):
    # A job in a container often works in another user's checkout.
    # What the checkout's own settings would have git run is not run.
    command = ["git", "-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Unknown("There is no git here to tell the version. Give the input version.") from None
    if done.returncode:
        raise Unknown(f"git {words[0]} failed: {done.stderr.strip() or 'it says nothing'}")
    return done.stdout.strip()


def need_history():
    """A checkout with commits, all of them."""
    try:
        git("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    except Unknown:
        raise Unknown(
            "This folder is no git checkout with a commit, so the version cannot be told. "
            "Use actions/checkout with fetch-depth: 0 before this step, or give the input version."
        ) from None
    if git("rev-parse", "--is-shallow-repository") == "true":
        raise Unknown(
            "This checkout is shallow: the tags and commits that tell the version are not in it. "
            "Set fetch-depth: 0 for actions/checkout, or give the input version."
        )


def is_dirty():
    """Whether a tracked file differs from the commit. What a build leaves beside them does not count."""
    return bool(git("status", "--porcelain", "--untracked-files=no"))


def highest_tag():
    """(precedence, version, tag) of the highest version that the commit contains, or None."""
    found = []
    for tag in git("tag", "--list", "--merged", "HEAD").splitlines():
        if parsed := parse(tag):
            found.append((*parsed, tag))
    return max(found, default=None)


def from_history():
    need_history()
    changed = "dirty" if is_dirty() else ""
    commit = "g" + git("rev-parse", "--short=7", "HEAD")
    newest = highest_tag()
    if newest is None:
        count = git("rev-list", "--count", "HEAD")
        return f"0.0.0-dev.{count}" + metadata("", commit, changed), ""
    (major, minor, patch, _), version, tag = newest
    count = int(git("rev-list", "--count", f"refs/tags/{tag}..HEAD"))
    bare, plus, build = version.partition("+")
    if count == 0:
        return (bare + metadata(build, commit, changed) if changed else version), tag
    following = f"{bare}.dev.{count}" if "-" in bare else f"{major}.{minor}.{patch + 1}-dev.{count}"
    return following + metadata("", commit, changed), ""


def metadata(*words):
    return "+" + ".".join(word for word in words if word)


def from_tag(tag):
    """A job that runs for a tag: also without the history, which a shallow checkout does not have."""
    if not (parsed := parse(tag)):
        raise Unknown(
            f"The tag {tag} is no SemVer version such as v1.2.3 (at most {LONGEST} characters). "
            "Name the tag so, or give the input version."
        )
    return parsed[1], tag


def decide(environment):
    """(version, tag) for a job with these variables."""
    if given := environment.get("INPUT_VERSION", "").strip():
        if not (parsed := parse(given)):
            raise Unknown(f"version is {given}; it is SemVer such as 1.2.0 or 1.2.0-rc.1, at most {LONGEST} characters.")
        return parsed[1], tag_of(environment)
    if environment.get("GITHUB_REF_TYPE") == "tag":
        version, tag = from_tag(environment.get("GITHUB_REF_NAME", ""))
        bare, _, build = version.partition("+")
        if is_dirty():
            version = bare + metadata(build, "g" + git("rev-parse", "--short=7", "HEAD"), "dirty")
        return version, tag
    version, tag = from_history()
    if not parse(version):
        raise Unknown(f"The history tells {version}, which is longer than {LONGEST} characters. Give the input version.")
    return version, tag


def tag_of(environment):
    return environment.get("GITHUB_REF_NAME", "") if environment.get("GITHUB_REF_TYPE") == "tag" else ""


def say(error):
    if os.environ.get("GITHUB_ACTIONS") == "true":
        text = str(error).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
        print(f"::error title=updraft::{text}", file=sys.stderr)
    else:
        print(f"updraft: {error}", file=sys.stderr)


def main():
    try:
        version, tag = decide(os.environ)
    except Unknown as error:
        say(error)
        return 1
    print(version)
    if path := os.environ.get("GITHUB_OUTPUT"):
        with open(path, "a", encoding="utf-8", newline="\n") as outputs:
            outputs.write(f"version={version}\ntag={tag}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
