#!/usr/bin/env bash
# Publishes the job's image, or (check-only) asks the gate about it; then summary.py says how it went.
#   INPUT_IMAGE INPUT_PRODUCT INPUT_PROMOTE INPUT_NOTES INPUT_NOTES_FILE INPUT_SERVER INPUT_STORE INPUT_TOKEN INPUT_ALLOW
#   INPUT_REQUIRES INPUT_STAMP INPUT_SECURE_VERSION INPUT_SIGN_KEY INPUT_WAIT INPUT_CHECK_ONLY VERSION UPDRAFT
# Commit, tag and whether files were changed updraft finds by itself, in git or in GitHub's variables.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=say.sh
source "$here/say.sh"

is_set() { # input value
    case $2 in
        true) ;;
        false | '') return 1 ;;
        *) fail "$1 is $2; it is true or false." ;;
    esac
}

# The one file that the input names.
find_image() {
    local pattern=${INPUT_IMAGE//\\//} found
    [[ -n $pattern ]] || fail "image is empty; it names the image that the build left, such as .pio/build/*/firmware.bin."
    # Bash 3.2, which macOS has, takes ** for *.
    shopt -s globstar 2>/dev/null || true
    shopt -s nullglob
    local IFS=''
    # shellcheck disable=SC2206 # it is to be expanded, and without IFS it is not split
    found=($pattern)
    case ${#found[@]} in
        0) found=("$pattern") ;;
        1) ;;
        *) fail "image is $INPUT_IMAGE, and ${#found[@]} files are of that name: $(printf '%s ' "${found[@]}"). Name one of them." ;;
    esac
    [[ -f ${found[0]} ]] || fail "image is $INPUT_IMAGE, and there is no such file in $PWD. Did the build end before this step?"
    # Never an option, whatever it is called.
    case ${found[0]} in
        -*) echo "./${found[0]}" ;;
        *) echo "${found[0]}" ;;
    esac
}

# Where the releases are, as words of a command, into `target`.
choose_target() {
    target=()
    if [[ -n ${INPUT_SERVER:-} && -n ${INPUT_STORE:-} ]]; then
        fail "server and store are both set. Set server to publish through Updraft, or store to write into the bucket directly."
    elif [[ -n ${INPUT_SERVER:-} ]]; then
        target=(--server "$INPUT_SERVER")
    elif [[ -n ${INPUT_STORE:-} ]]; then
        target=(--store "$INPUT_STORE")
    fi
}

# Makes the image say itself what it is, before anybody signs it.
stamp() { # image
    local words=(image stamp "$1" "--version=$VERSION" "--product=$INPUT_PRODUCT" -o "$work/stamped.bin")
    if [[ -n ${INPUT_SECURE_VERSION:-} ]]; then words+=("--secure-version=$INPUT_SECURE_VERSION"); fi
    "$UPDRAFT" "${words[@]}" >&2 || fail "The image was not stamped, and nothing was published: see the message above."
    image=$work/stamped.bin
}

# Signs with a key that is in a file only for as long as that takes.
sign() { # image
    local key=$work/key.pem signed=$work/firmware.bin
    mask "$INPUT_SIGN_KEY"
    (umask 077 && printf '%s\n' "$INPUT_SIGN_KEY" >"$key")
    # No program that is called from here on has it in its environment.
    unset INPUT_SIGN_KEY
    if ! "$UPDRAFT" image sign "$1" --key "$key" -o "$signed" >&2; then
        rm -f "$key"
        fail "The image was not signed, and nothing was published: see the message above. sign-key is the text of a PEM file."
    fi
    rm -f "$key"
    image=$signed
}

publishing() { # the command's words, into `words` and `waiting`
    local notes=${INPUT_NOTES:-}
    if [[ -n ${INPUT_NOTES_FILE:-} ]]; then
        [[ -z $notes ]] || fail "notes and notes-file are both set; set one of them."
        [[ -f $INPUT_NOTES_FILE ]] || fail "notes-file is $INPUT_NOTES_FILE, and there is no such file in $PWD."
        notes=$(<"$INPUT_NOTES_FILE")
    fi
    words=(publish)
    # With =, so that a text that begins with a hyphen is no option.
    if [[ -n $notes ]]; then words+=("--notes=$notes"); fi
    if [[ -n ${INPUT_REQUIRES:-} ]]; then words+=("--requires=$INPUT_REQUIRES"); fi
    # In YAML `yes` and `on` are texts here, and nobody means a channel of that name.
    case $(tr '[:upper:]' '[:lower:]' <<<"${INPUT_PROMOTE:-false}") in
        false) ;;
        true) words+=(--promote=production) ;;
        yes | no | on | off | y | n | 1 | 0)
            fail "promote is $INPUT_PROMOTE; it is a channel such as production, true for production, or false."
            ;;
        *) words+=("--promote=$INPUT_PROMOTE") ;;
    esac
    case ${INPUT_WAIT:-false} in
        false) return ;;
        true) waiting=(--wait) ;;
        *) waiting=("--wait=$INPUT_WAIT") ;;
    esac
    [[ -n ${INPUT_SERVER:-} ]] || fail "wait is $INPUT_WAIT, and server is not set: only a server has rollouts to wait for."
}

allowances() { # into `allowed`
    local name list=${INPUT_ALLOW//,/ }
    allowed=()
    set -f
    for name in $list; do allowed+=("--allow=$name"); done
    set +f
}

# Until the command has said what it is.
output decision failed
work=$(mktemp -d "$RUNNER_TEMP/updraft.XXXXXX")
# A cancelled job must not leave a key behind.
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

[[ -n ${INPUT_PRODUCT:-} ]] || fail "product is empty; it is the name of the devices that run this image, such as lamp."
image=$(find_image)
choose_target
if is_set stamp "${INPUT_STAMP:-}"; then
    stamp "$image"
elif [[ -n ${INPUT_SECURE_VERSION:-} ]]; then
    fail "secure-version is $INPUT_SECURE_VERSION, and stamp is not true: only a stamp can say it."
fi
if [[ -n ${INPUT_SIGN_KEY:-} ]]; then sign "$image"; fi
# Not set at all rather than empty: then updraft asks GitHub for its own.
if [[ -n ${INPUT_TOKEN:-} ]]; then
    mask "$INPUT_TOKEN"
    export UPDRAFT_TOKEN=$INPUT_TOKEN
fi
waiting=()
if is_set check-only "${INPUT_CHECK_ONLY:-}"; then
    words=(image check)
    # A pull request from a stranger has no right to ask anybody. In an empty store the gate looks at the image alone.
    if [[ ${#target[@]} -eq 0 ]]; then
        mkdir "$work/store"
        target=(--store "file:$work/store")
    fi
else
    [[ ${#target[@]} -ne 0 ]] || fail "Neither server nor store is set: say where to publish."
    publishing
fi
allowances
words+=("$image" "--product=$INPUT_PRODUCT" "--version=$VERSION" ${allowed[@]+"${allowed[@]}"} "${target[@]}")
words+=(${waiting[@]+"${waiting[@]}"} --json)

# What others wrote (a server, an image) must not be read as commands to the runner.
fence=updraft-$RANDOM$RANDOM$RANDOM
echo "::stop-commands::$fence"
status=0
# What it says is seen while it waits, and on the same stream as the fence: else the two could be read in another order.
"$UPDRAFT" "${words[@]}" 2>&1 >"$work/said.json" | tee "$work/errors" || status=${PIPESTATUS[0]}
echo "::$fence::"
# Its exit code is the job's: 0 only for a decision that is a good one.
python3 "$here/summary.py" "$work/said.json" "$work/errors" "$status"
