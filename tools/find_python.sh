#!/bin/sh
# Prints the path of a Python 3.10, the one that TFX 1.16 runs on; says in one line how to get it where there is none.
works() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 10))' 2>/dev/null; }
newest=$(ls -d "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.10.*/bin/python3.10 2>/dev/null | tail -n 1)
for python in python3.10 "$newest" "$(uv python find 3.10 2>/dev/null)" python3; do
    if [ -n "$python" ] && works "$python"; then
        command -v "$python"
        exit 0
    fi
done
echo "segpipe needs Python 3.10 with venv, which is not here: install it with 'pyenv install 3.10', 'uv python install 3.10' or your system's packages, then run make again." >&2
exit 1
