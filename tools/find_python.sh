#!/bin/sh
# Prints which TFX this machine runs and the Python to run it with, as "1.21 /usr/bin/python3.13": TFX 1.21 where glibc is
# 2.39 or newer and a Python 3.11 to 3.13 is there, else TFX 1.16 with Python 3.10. Says in one line what to install where
# there is neither.
works() {
    # One package is built from source, so the headers must be there as well.
    "$1" -c 'import ensurepip, os, sys, sysconfig, venv
headers = os.path.join(sysconfig.get_path("include"), "Python.h")
sys.exit("%d.%d" % sys.version_info[:2] != sys.argv[1] or not os.path.exists(headers))' "$2" 2>/dev/null
}
find_one() {
    tfx=$1
    shift
    for version in "$@"; do
        newest=$(ls -d "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/"python$version" 2>/dev/null | sort -V | tail -n 1)
        for python in "python$version" "$newest" "$(uv python find "$version" 2>/dev/null)" python3; do
            if [ -n "$python" ] && works "$python" "$version"; then
                echo "$tfx $(command -v "$python")"
                exit 0
            fi
        done
    done
}
glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null)
glibc=${glibc#glibc }
wanted="Python 3.10"
if [ -n "$glibc" ] && [ "$(printf '2.39\n%s\n' "$glibc" | sort -V | head -n 1)" = 2.39 ]; then
    find_one 1.21 3.13 3.12 3.11
    wanted="Python 3.13"
fi
find_one 1.16 3.10
version=${wanted#Python }
echo "segpipe needs $wanted with venv and headers, which is not here: install it with 'pyenv install $version', 'uv python install $version' or your system's packages (python3-venv and python3-dev on Debian and Ubuntu), then run make again." >&2
exit 1
