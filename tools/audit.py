"""Audits the locked dependencies against published advisories, by pip-audit.

    python tools/audit.py requirements/tfx-1.16.txt requirements/tfx-1.21.txt requirements/advisories.yaml

PyPI is asked, or with `--osv-url` an OSV server, such as one's own in a closed network. The last file lists the
advisories that apply and cannot be mended within the pins, each with its reason. Exit status 1 if another one applies,
a locked release was withdrawn, or an entry of that file no longer holds. A mirror that has no pages of single releases
still tells the advisories of each newest one: then those are audited, and the others counted. Without any network the
entries alone are checked, and it says so.
"""

import argparse
import functools
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

PYPI = "https://pypi.org"
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
    """Why the advisories of a single release cannot be had here; None if they can."""
    package, version = next(iter(pins.items()))
    try:
        if osv_url is not None:
            query = {"package": {"name": package, "ecosystem": "PyPI"}, "version": version}
            requests.post(osv_url, json=query, timeout=15).raise_for_status()
            return None
        answer = requests.get(f"{PYPI}/pypi/{package}/{version}/json", timeout=15)
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


@functools.cache
def _page(mirror: str, package: str) -> dict:
    """What is told of a project; the locks have most of them in common."""
    answer = requests.get(f"{mirror}/pypi/{package}/json", timeout=60)
    answer.raise_for_status()
    page = answer.json()
    files = page["releases"].items()
    withdrawn = {version: [one["yanked_reason"] for one in some if one["yanked"]] for version, some in files}
    return {"newest": page["info"]["version"], "vulnerabilities": page["vulnerabilities"], "withdrawn": withdrawn}


def newest_releases(pins: dict[str, str], mirror: str) -> tuple[list[dict], list[str]]:
    """What the pages of whole projects tell: the advisories of each newest release, and what was withdrawn.

    Returns:
      Records as of `audit`, of the packages that are locked at their newest release; a sentence for each locked release
      that its authors withdrew (PEP 592).

    Raises:
      requests.RequestException, ValueError: if a page cannot be had or is none.
    """
    records, withdrawn = [], []
    with ThreadPoolExecutor(8) as pool:
        for (package, version), project in zip(
            pins.items(), pool.map(lambda name: _page(mirror, name), pins), strict=True
        ):
            if project["newest"] == version:
                vulns = [advisory | {"fix_versions": advisory["fixed_in"]} for advisory in project["vulnerabilities"]]
                records.append({"name": package, "version": version, "vulns": vulns})
            for reason in project["withdrawn"].get(version, [])[:1]:
                withdrawn.append(f"{package} {version} was withdrawn: {reason or 'no reason given'}")
    return records, withdrawn


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


def published(lock: Path, pins: dict[str, str], mirror: str, osv_url: str | None) -> tuple[list[dict], list[str], str]:
    """What is published of the locked packages, as far as it can be had here.

    Returns:
      Records as of `audit`; a sentence for each withdrawn release; how much was audited, for the reader.
    """
    why = unreachable(pins, osv_url)
    if why is None:
        records = audit(lock, osv_url)
        audited = sum("skip_reason" not in record for record in records)
        return records, [], f"audited {audited} of {len(pins)} packages of {lock}"
    if osv_url is None:
        try:
            records, withdrawn = newest_releases(pins, mirror)
            told = f"audited {len(records)} of {len(pins)} packages of {lock}, those at their newest release"
            return records, withdrawn, f"{told}; of the others it is known whether they were withdrawn ({why})"
        except (requests.RequestException, ValueError) as error:
            why = type(error).__name__
    return [], [], f"NOT AUDITED: advisories cannot be had here ({why}), for none of {len(pins)} packages of {lock}"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("locks", type=Path, nargs="+")
    parser.add_argument("advisories", type=Path)
    parser.add_argument("--osv-url", help="the query address of an OSV server; without it PyPI is asked")
    parser.add_argument("--mirror-url", default=PYPI, help="whose pages of newest releases to read where PyPI is cut")
    options = parser.parse_args(arguments)
    locks = {lock: locked(lock) for lock in options.locks}
    accepted, wrong = read_accepted(options.advisories, list(locks.values()))
    for lock, pins in locks.items():
        records, withdrawn, told = published(lock, pins, options.mirror_url, options.osv_url)
        wrong += withdrawn + judge(records, accepted)
        print(f"{told}; {len(accepted)} advisories are accepted in {options.advisories}")
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
