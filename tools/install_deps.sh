#!/usr/bin/env bash
# Installs the Debian 12 packages that a build needs: tools/install_deps.sh SET...
# Packages already present are left alone; when none is missing, apt is not called at all, so a
# machine without a network keeps working.
set -euo pipefail

# Configure and build everything, the unit tests included.
build=(g++ cmake ninja-build pkg-config python3 libhwy-dev nlohmann-json3-dev libcli11-dev
    libpcre2-dev libfmt-dev libspdlog-dev libssl-dev libsqlite3-dev zlib1g-dev
    libzstd-dev libboost-dev libgtest-dev
    libbenchmark-dev)
# Run `make test`: the Python tests, their plain transcription of the model, client programs.
test=(python3-numpy python3-pytest python3-venv ca-certificates squashfs-tools)
# The chat page in a real browser.
browser=(chromium)
# Format check, sanitizers, fuzzing.
check=(clang-14 libclang-rt-14-dev clang-format-14)

wanted=()
for set_name in "$@"; do
    case "$set_name" in
        build) wanted+=("${build[@]}") ;;
        test) wanted+=("${test[@]}") ;;
        browser) wanted+=("${browser[@]}") ;;
        check) wanted+=("${check[@]}") ;;
        *)
            echo "install_deps: unknown set '$set_name' (allowed: build, test, browser, check)" >&2
            exit 2
            ;;
    esac
done
if [ ${#wanted[@]} -eq 0 ]; then
    echo "usage: tools/install_deps.sh build|test|browser|check ..." >&2
    exit 2
fi

if ! command -v dpkg-query >/dev/null; then
    echo "install_deps: no dpkg-query here; install the equivalents of: ${wanted[*]}" >&2
    exit 1
fi
missing=()
for package in "${wanted[@]}"; do
    status=$(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
    echo "install_deps: all ${#wanted[@]} packages of '$*' are present"
    exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "install_deps: not root and no sudo; ask root to run: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi
echo "install_deps: installing ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}"
