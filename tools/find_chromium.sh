#!/bin/sh
# Prints the path of a Chromium for the browser tests. As root on Debian it installs a missing one; elsewhere it says in
# one line what to install, and the tests that need it are skipped with the same advice.
works() { "$1" --version >/dev/null 2>&1; }
find_one() {
    for browser in "$SEGPIPE_CHROMIUM" chromium chromium-browser google-chrome; do
        if [ -n "$browser" ] && works "$browser"; then
            command -v "$browser"
            exit 0
        fi
    done
}
find_one
if [ "$(id -u)" = 0 ] && grep -q '^ID=debian' /etc/os-release 2>/dev/null; then
    echo "installing Debian's chromium for the browser tests" >&2
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update && apt-get install --yes --no-install-recommends chromium; } >/dev/null 2>&1
    find_one
fi
echo "the browser tests need Chromium, which is not here, and are skipped: install the package chromium, or name a binary in SEGPIPE_CHROMIUM." >&2
exit 1
