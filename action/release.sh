#!/usr/bin/env bash
# The names of what is released, in one place: scripts/package makes files of these names, install.sh asks for them.
set -euo pipefail

# Read by those that source this file.
# shellcheck disable=SC2034
readonly CHECKSUMS=SHA256SUMS RELEASES=https://github.com/updraft-ota/updraft/releases/download

archive_of() { # target
    echo "updraft-$1.tar.gz"
}

binary_of() { # target
    case $1 in
        *-windows-*) echo updraft.exe ;;
        *) echo updraft ;;
    esac
}

sha256_of() { # file
    if command -v sha256sum >/dev/null; then
        sha256sum <"$1" | cut -d ' ' -f 1
    else
        shasum -a 256 <"$1" | cut -d ' ' -f 1
    fi
}
