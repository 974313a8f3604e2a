"""Audits the locked dependencies against published advisories, by pip-audit.

    python tools/audit.py requirements/tfx-1.16.txt requirements/tfx-1.21.txt requirements/advisories.yaml

PyPI is asked, or with `--osv-url` an OSV server, such as one's own in a closed network. The last file lists the
advisories that apply and cannot be mended within the pins, each with its reason. Exit status 1 if another one applies,
or an entry of that file no longer does. Where advisories cannot be had, the entries alone are checked, and it says so.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import requests
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

SERVICE = "https://pypi.org/pypi/{}/{}/json"
_FIELDS = {"id", "package", "affected", "reason"}


def locked(lock: Path) -> dict[str, str]:
    """Package -> version, of every line of a lock that pins one."""
    lines = [line.split(" \\")[0] for line in lock.read_text().splitlines() if line and line[0] not in " #"]
    pins = [Requirement(line) for line in lines]
    return {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in pins}


def read_accepted(path: Path, locks: list[dict[str, str]]) -> tuple[dict[tuple[str, str], str], list[str]]:
    """The accepted advisories.

    Args:
      path: of the file that lists them.
      locks: package -> version; an entry must apply to one of them at least.

    Returns:
      (package, advisory) -> reason, and what is wrong with the file, a sentence each.
    """
    accepted, wrong = {}, []
    for entry in yaml.safe_load(path.read_text()):
        name = entry.get("id", "an entry")
        if set(entry) != _FIELDS or not all(str(entry[field]).strip() for field in _FIELDS):
            wrong.append(f"{path}: {name} must have just {', '.join(sorted(_FIELDS))}, and none may be empty")
            continue
        package = canonicalize_name(entry["package"])
        versions = [pins[package] for pins in locks if package in pins]
        if not versions:
            wrong.append(f"{path}: {name} is about {package}, which is not locked; remove the entry")
        elif not any(SpecifierSet(entry["affected"]).contains(version, prereleases=True) for version in versions):
            wrong.append(f"{path}: {name} is mended in {package} {', '.join(versions)}; remove the entry")
        accepted[package, name] = entry["reason"]
    return accepted, wrong


def unreachable(pins: dict[str, str], osv_url: str | None) -> str | None:
    """Why advisories cannot be had here; None if they can."""
    package, version = next(iter(pins.items()))
    try:
        if osv_url is not None:
            query = {"package": {"name": package, "ecosystem": "PyPI"}, "version": version}
            requests.post(osv_url, json=query, timeout=15).raise_for_status()
            return None
        answer = requests.get(SERVICE.format(package, version), timeout=15)
        answer.raise_for_status()
        return None if "vulnerabilities" in answer.json() else "its answers hold none"
    except requests.HTTPError as error:
        return f"HTTP {error.response.status_code}"
    except (requests.RequestException, ValueError) as error:
        return type(error).__name__


def audit(lock: Path, osv_url: str | None) -> list[dict]:
    """pip-audit's records of the lock: `name`, `version`, `vulns`, or `skip_reason`.

    Raises:
      RuntimeError: if pip-audit gives none.
    """
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--disable-pip", "--require-hashes"]
    service = [] if osv_url is None else ["--vulnerability-service", "osv", "--osv-url", osv_url]
    command += [*service, "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        return json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError) as error:
        raise RuntimeError(f"pip-audit gave no answer: {done.stderr.strip().splitlines()[-1:]}") from error


def judge(records: list[dict], accepted: dict[tuple[str, str], str]) -> list[str]:
    """One sentence for each advisory that nobody has accepted."""
    found = []
    for record in records:
        package = canonicalize_name(record["name"])
        for advisory in record.get("vulns", []):
            names = {advisory["id"], *advisory["aliases"]}
            if not any((package, name) in accepted for name in names):
                mended = ", ".join(advisory["fix_versions"]) or "no version yet"
                found.append(f"{package} {record['version']}: {'/'.join(sorted(names))}, mended in {mended}")
    return found


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("locks", type=Path, nargs="+")
    parser.add_argument("advisories", type=Path)
    parser.add_argument("--osv-url", help="the query address of an OSV server; without it PyPI is asked")
    options = parser.parse_args(arguments)
    locks = {lock: locked(lock) for lock in options.locks}
    accepted, wrong = read_accepted(options.advisories, list(locks.values()))
    why = unreachable(locks[options.locks[0]], options.osv_url)
    for lock, pins in locks.items():
        if why is None:
            records = audit(lock, options.osv_url)
            audited = sum("skip_reason" not in record for record in records)
            wrong += judge(records, accepted)
            print(f"audited {audited} of {len(pins)} packages of {lock}; {len(accepted)} advisories are accepted")
        else:
            print(
                f"NOT AUDITED: advisories cannot be had here ({why}); of {len(pins)} packages of {lock} only the "
                f"{len(accepted)} entries of {options.advisories} were checked"
            )
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
