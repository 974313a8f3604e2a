"""What a run imports before its first component."""

import subprocess
import sys

RUN = """
import gc
from pipeline.local_runner import quick_imports
with quick_imports():
    import tfx.components.infra_validator.component
    from kubernetes.dynamic import client
    assert not client.HAS_KUBERNETES_VALIDATE and not gc.isenabled()
assert gc.isenabled()
import kubernetes_validate
kubernetes_validate.latest_version()
"""


def test_a_run_takes_no_package_of_the_tests_which_stays_there_for_others():
    ended = subprocess.run([sys.executable, "-c", RUN], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
