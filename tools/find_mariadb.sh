#!/bin/sh
# Finds MariaDB's server for the tests of Kubeflow Pipelines. As root on Debian it installs a missing one, without
# starting it; elsewhere it says in one line what to install, and the tests that need it are skipped with the same advice.
PATH="$PATH:/usr/sbin"
command -v mariadbd && exit 0
if [ "$(id -u)" = 0 ] && grep -q '^ID=debian' /etc/os-release 2>/dev/null; then
    echo "installing Debian's mariadb-server for the tests of Kubeflow Pipelines" >&2
    export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
    { apt-get update && apt-get install --yes --no-install-recommends mariadb-server; } >/dev/null 2>&1
    command -v mariadbd && exit 0
fi
echo "the tests of Kubeflow Pipelines need MariaDB's server, which is not here, and are skipped: install the package mariadb-server." >&2
exit 1
