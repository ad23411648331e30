#!/usr/bin/env bash
# How the action's scripts speak to a job: annotations, masks, outputs. Sourced by the others.
set -euo pipefail

# A workflow command is one line; what would end it is written as GitHub's runner reads it.
escape() {
    local text=$1
    text=${text//'%'/%25}
    text=${text//$'\r'/%0D}
    printf '%s' "${text//$'\n'/%0A}"
}

# Ends the step with a sentence. On standard error, which the runner reads too: standard output may be a value.
fail() {
    if [[ ${GITHUB_ACTIONS:-} == true ]]; then
        printf '::error title=updraft::%s\n' "$(escape "$1")" >&2
    else
        printf 'updraft: %s\n' "$1" >&2
    fi
    exit 1
}

# Keeps every line of a secret out of the log. The frame of a PEM file is no secret.
mask() {
    local line
    while IFS= read -r line || [[ -n $line ]]; do
        line=${line%$'\r'}
        [[ -z $line || $line == -----* ]] || printf '::add-mask::%s\n' "$(escape "$line")"
    done <<<"$1"
}

# A value of one line for later steps.
output() { # name value
    printf '%s=%s\n' "$1" "$2" >>"$GITHUB_OUTPUT"
}
