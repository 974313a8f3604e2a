"""Several processes on this machine that train one model, where nobody else has started them.

Each runs `python -m components.trainer.team`, which takes the node's arguments from standard input and is the Trainer's
executor with a TF_CONFIG of loopback addresses. Standard input stays open: its end is that of whoever started it.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time

from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import artifact_utils

from components.trainer import RUN_ID
from trainer.workers import TF_CONFIG

_FAILED = 1


def train_together(count: int, inputs: dict, outputs: dict, properties: dict, context: BaseExecutor.Context) -> None:
    """Trains in a number of processes and returns when all have finished.

    Args:
      count: of processes.
      inputs, outputs, properties: of the Trainer's executor.
      context: its context.

    Raises:
      RuntimeError: if one failed; the others are stopped. Why is in the log, which they share.
    """
    job = {
        "inputs": artifact_utils.jsonify_artifact_dict(inputs),
        "outputs": artifact_utils.jsonify_artifact_dict(outputs),
        "properties": properties,
        "tmp_dir": context.get_tmp_path(),
    }
    cluster = {"worker": [f"127.0.0.1:{port}" for port in _free_ports(count)]}
    # Each would take all cores for itself.
    threads = {"TF_NUM_INTRAOP_THREADS": str(max(1, (os.cpu_count() or 1) // count))}
    environment = threads | os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    if context.pipeline_run_id:
        environment[RUN_ID] = context.pipeline_run_id
    processes = []
    try:
        for index in range(count):
            task = {"type": "worker", "index": index}
            told = environment | {TF_CONFIG: json.dumps({"cluster": cluster, "task": task})}
            command = [sys.executable, "-m", "components.trainer.team"]
            processes.append(subprocess.Popen(command, env=told, stdin=subprocess.PIPE, text=True))
            processes[-1].stdin.write(json.dumps(job) + "\n")
            processes[-1].stdin.flush()
        _wait(processes)
    finally:
        for process in processes:
            process.kill()
            process.stdin.close()
            process.wait()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _wait(processes: list[subprocess.Popen]) -> None:
    while True:
        codes = [process.poll() for process in processes]
        failed = [(index, code) for index, code in enumerate(codes) if code]
        if failed:
            index, code = failed[0]
            raise RuntimeError(f"process {index} of {len(processes)} that trained together ended with status {code}")
        if None not in codes:
            return
        time.sleep(0.1)


def _end_with_parent() -> None:
    # Not through sys.stdin, whose lock Python wants when it ends.
    while os.read(0, 1):
        pass
    os._exit(_FAILED)


def main() -> None:
    """One of the processes."""
    from absl import logging

    from components.trainer.executor import Executor

    logging.use_absl_handler()
    logging.set_verbosity(logging.INFO)
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    context = BaseExecutor.Context(tmp_dir=job["tmp_dir"], unique_id="", pipeline_run_id=os.environ.get(RUN_ID))
    inputs, outputs = (artifact_utils.parse_artifact_dict(job[key]) for key in ("inputs", "outputs"))
    Executor(context).Do(inputs, outputs, job["properties"])


if __name__ == "__main__":
    main()
