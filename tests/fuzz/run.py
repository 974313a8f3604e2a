"""Fuzzes the ingest's file reader and the config loader for as long as you like, and keeps what fails.

.venv/bin/python tests/fuzz/run.py --minutes 10

Half of the time goes to each. Each input is written down before it is tried, by a process of its own, so that one that
kills the process or hangs (60 s) is kept as well: as tests/fuzz/regressions/<hash>.<kind>, which test_fuzz.py reads
from then on. Exit status 1 if any failed.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
REGRESSIONS = HERE / "regressions"
HANG_SECONDS = 60


def fuzz(kind: str, seconds: float, current: str) -> None:
    """Tries inputs of one kind until the time is up and prints what came of them."""
    import faulthandler
    import warnings

    import coverage

    readers = [str(ROOT / "components" / "ingest" / f"{name}.py") for name in ("opening", "mask_reader", "reader")]
    covered = coverage.Coverage(branch=True, data_file=None, config_file=False, include=readers)
    covered.start()
    from hypothesis import HealthCheck, Phase, given, settings
    from targets import CHECKS, inputs, quiet

    warnings.simplefilter("ignore")
    outcomes, sizes, slowest = Counter(), 0, 0.0
    started = time.monotonic()

    @settings(
        max_examples=500,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(content=inputs(kind))
    def attempt(content: bytes) -> None:
        nonlocal sizes, slowest
        Path(current).write_bytes(content)
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True, file=sys.__stdout__)
        begun = time.monotonic()
        outcomes[CHECKS[kind](content)] += 1
        faulthandler.cancel_dump_traceback_later()
        slowest, sizes = max(slowest, time.monotonic() - begun), sizes + len(content)

    with quiet():
        while time.monotonic() - started < seconds:
            attempt()
    covered.stop()
    tried = sum(outcomes.values())
    print(
        f"{kind}: {tried:,} inputs tried in {time.monotonic() - started:.0f} s, {sizes / tried:,.0f} bytes on average,"
    )
    print(f"  slowest {slowest:.2f} s: " + ", ".join(f"{count:,} {name}" for name, count in outcomes.most_common()))
    if kind == "pair":
        print("branch coverage of what reads a pair:", flush=True)
        covered.report(file=sys.stdout, show_missing=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--kind", choices=["pair", "config"], help="only this one; it then gets all the time")
    parser.add_argument("--apart", metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.apart:
        sys.path[:0] = [str(ROOT), str(HERE)]
        fuzz(options.kind, options.minutes * 60, options.apart)
        return 0
    kinds = [options.kind] if options.kind else ["pair", "config"]
    status = 0
    for kind in kinds:
        with tempfile.TemporaryDirectory() as folder:
            current = os.path.join(folder, "current")
            command = [sys.executable, __file__, "--apart", current, "--kind", kind]
            command += ["--minutes", str(options.minutes / len(kinds))]
            done = subprocess.run(command, env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"})
            if done.returncode:
                content = Path(current).read_bytes()
                kept = REGRESSIONS / f"{hashlib.sha256(content).hexdigest()[:12]}.{kind}"
                kept.write_bytes(content)
                print(f"{kind}: failed with exit status {done.returncode}; the input is kept as {kept}")
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
