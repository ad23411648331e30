#!/usr/bin/env bash
# Gets the `updraft` that the action works with, and puts it on the PATH of the job's later steps: a released binary, whose
# SHA-256 must be the release's own (and that of the input `checksum`); or one built from the action's repository; or one
# that is there already. Sets the output `binary`.
#   INPUT_INSTALL INPUT_UPDRAFT_VERSION INPUT_CHECKSUM INPUT_BINARY INPUT_RELEASES ACTION_REF
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=say.sh
source "$here/say.sh"
# shellcheck source-path=SCRIPTDIR source=release.sh
source "$here/release.sh"

# --- a released binary ---

# The input; else the tag that the action was asked for with; else what this copy of the repository would be released as.
wanted_version() {
    local wanted=${INPUT_UPDRAFT_VERSION:-}
    if [[ -z $wanted && ${ACTION_REF:-} =~ ^v[0-9]+\.[0-9]+\.[0-9]+ ]]; then wanted=$ACTION_REF; fi
    if [[ -z $wanted ]]; then
        wanted=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$here/../Cargo.toml")
    fi
    wanted=${wanted#v}
    [[ $wanted =~ ^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$ ]] ||
        fail "updraft-version is ${wanted:-empty}; it is a release of Updraft such as 0.1.0."
    echo "$wanted"
}

target_of_the_runner() {
    local os arch target _ released=()
    while read -r os arch target _; do
        [[ -z $os || $os == \#* ]] && continue
        if [[ $os == "$RUNNER_OS" && $arch == "$RUNNER_ARCH" ]]; then
            echo "$target"
            return
        fi
        released+=("$os $arch")
    done <"$here/platforms"
    fail "No released updraft runs on $RUNNER_OS $RUNNER_ARCH (there are: $(printf '%s, ' "${released[@]}" | sed 's/, $//')). \
Set install: build."
}

# Fetches a file. Ends the step unless the answer is 200 or, for who asks, 404.
fetch() { # url file what-404-means
    local status only=(--proto '=https')
    # A mirror on the runner itself has nobody in between.
    if [[ $1 =~ ^http://(127\.0\.0\.1|localhost)[:/] ]]; then only=(--proto '=http,https'); fi
    status=$(curl "${only[@]}" --silent --show-error --location --max-redirs 5 --retry 3 --connect-timeout 20 --max-time 300 \
        --output "$2" --write-out '%{http_code}' "$1") || fail "Cannot download $1: see curl's message above. Run the job again."
    case $status in
        200) ;;
        404) fail "$3" ;;
        *) fail "Cannot download $1: the answer was $status. Run the job again." ;;
    esac
}

# One line of SHA256SUMS: 64 digits, two spaces (or a space and an asterisk), a name.
digest_in() { # checksums archive
    sed -n "s/^\([0-9a-f]\{64\}\) [ *]$2\$/\1/p" "$1"
}

# Into a folder, unless the two digests are not what was said: the release's own, and the input `checksum`.
download() { # version archive folder wanted
    local version=$1 archive=$2 folder=$3 wanted=$4 said have releases=${INPUT_RELEASES:-$RELEASES}
    fetch "$releases/v$version/$CHECKSUMS" "$folder/$CHECKSUMS" "There is no release $version of Updraft at $releases \
(404 for $CHECKSUMS). Look at updraft-version, or set install: build."
    said=$(digest_in "$folder/$CHECKSUMS" "$archive")
    [[ -n $said ]] || fail "Release $version of Updraft has no $archive in its $CHECKSUMS. Set install: build, or another updraft-version."
    fetch "$releases/v$version/$archive" "$folder/$archive" "Release $version of Updraft is not complete: $archive is in its \
$CHECKSUMS, and the file itself is not there (404). Set another updraft-version, or install: build."
    have=$(sha256_of "$folder/$archive")
    [[ $have == "$said" ]] || fail "$archive has the SHA-256 $have, and the release's $CHECKSUMS says $said. Nothing was installed. \
Run the job again; if it stays so, somebody changed the file."
    [[ -z $wanted || $have == "$wanted" ]] || fail "$archive has the SHA-256 $have, and the input checksum says $wanted. Nothing was \
installed. Look at checksum and updraft-version: the checksum is the archive's, for this kind of runner."
    echo "updraft $version is downloaded; the SHA-256 of $archive is $have."
}

install_release() {
    local version target archive binary cache complete folder wanted own is_cached=false
    version=$(wanted_version)
    target=$(target_of_the_runner)
    archive=$(archive_of "$target") binary=$(binary_of "$target")
    cache=$RUNNER_TOOL_CACHE/updraft/$version/$target complete=$cache.complete
    wanted=$(tr '[:upper:]' '[:lower:]' <<<"${INPUT_CHECKSUM:-}")
    if [[ -z $wanted && -x $cache/$binary && -f $complete ]]; then
        echo "updraft $version is in the tool cache."
        use "$cache/$binary"
        return
    fi
    folder=$(mktemp -d "$RUNNER_TEMP/updraft.XXXXXX")
    # shellcheck disable=SC2064 # the folder of now
    trap "rm -rf '$folder'" EXIT
    # Whoever can write to the cache can write any binary and any digest beside it. With a checksum nothing of it is believed
    # but an archive that has this very digest, and that is copied first.
    if [[ -n $wanted && -f $cache/$archive ]]; then
        cp "$cache/$archive" "$folder/$archive"
        if [[ $(sha256_of "$folder/$archive") == "$wanted" ]]; then
            is_cached=true
            echo "The archive of updraft $version is in the tool cache, and has the SHA-256 $wanted."
        fi
    fi
    $is_cached || download "$version" "$archive" "$folder" "$wanted"
    # Without a path: tar takes C:\… for another machine's.
    (cd "$folder" && tar -xzf "$archive" "$binary") || fail "$archive cannot be unpacked: it has no $binary at its top."
    if ! $is_cached; then
        rm -rf "$cache" "$complete"
        mkdir -p "$cache"
        cp "$folder/$archive" "$folder/$binary" "$cache/"
        touch "$complete"
    fi
    if [[ -z $wanted ]]; then
        use "$cache/$binary"
        return
    fi
    # What runs is what was unpacked just now, in a folder of this job's.
    own=$(mktemp -d "$RUNNER_TEMP/updraft-$version.XXXXXX")
    mv "$folder/$binary" "$own/$binary"
    use "$own/$binary"
}

# --- the other ways ---

install_built() {
    local source built name=updraft
    source=$(cd "$here/.." && pwd)
    [[ -f $source/Cargo.toml ]] || fail "install: build needs the whole repository of Updraft; the action lies in $here without it."
    command -v cargo >/dev/null || fail "install: build needs cargo on the runner, and there is none. Install Rust first (rustup), \
or set install: release."
    built=$RUNNER_TEMP/updraft-build
    (cd "$source" && cargo build --locked --release --package updraft --bin updraft --target-dir "$built") ||
        fail "updraft could not be built from $source: see cargo's message above."
    if [[ $RUNNER_OS == Windows ]]; then name=updraft.exe; fi
    use "$built/release/$name"
}

use() { # binary
    local version
    version=$("$1" --version) || fail "$1 does not run here."
    echo "$version: $1"
    dirname "$1" >>"$GITHUB_PATH"
    output binary "$1"
}

if [[ -n ${INPUT_BINARY:-} ]]; then
    [[ -x $INPUT_BINARY ]] || fail "binary is $INPUT_BINARY, and there is no program of that name."
    use "$(cd "$(dirname "$INPUT_BINARY")" && pwd)/$(basename "$INPUT_BINARY")"
    exit
fi
case "${INPUT_INSTALL:-release}" in
    release) install_release ;;
    build) install_built ;;
    path)
        found=$(command -v updraft) || fail "install: path, and there is no updraft on the PATH."
        use "$found"
        ;;
    *) fail "install is ${INPUT_INSTALL}; it is release, build or path." ;;
esac
