"""What stands for a Flink or Spark cluster: Beam's own job service and a worker pool, each a process of its own.

    with cluster(folder, environment) as found:
        ...  # beam: {default: found.section}
        found.pipelines()

Pipelines come to it as they come to a cluster, as protos over Beam's job API, and the pool starts a new Python for each
that knows nothing but `environment`. Not there: Flink or Spark themselves, containers, staging of packages.
"""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

_PATIENCE = 120


@dataclass(frozen=True)
class Cluster:
    """Addresses of both services."""

    jobs: str
    workers: str

    @property
    def section(self) -> dict:
        """The runner of a config."""
        return {
            "runner": "FlinkRunner",
            "job_endpoint": self.jobs,
            "environment_type": "EXTERNAL",
            "environment_config": self.workers,
        }

    def pipelines(self) -> list[tuple[str, bytes]]:
        """State and serialised proto of each pipeline that it was given, in order."""
        with grpc.insecure_channel(self.jobs, [("grpc.max_receive_message_length", -1)]) as channel:
            service = beam_job_api_pb2_grpc.JobServiceStub(channel)
            jobs = service.GetJobs(beam_job_api_pb2.GetJobsRequest()).job_info
            found = []
            for job in jobs:
                asked = beam_job_api_pb2.GetJobPipelineRequest(job_id=job.job_id)
                proto = service.GetPipeline(asked).pipeline.SerializeToString()
                found.append((beam_job_api_pb2.JobState.Enum.Name(job.state), proto))
            return found


@contextlib.contextmanager
def cluster(folder: Path, environment: dict[str, str]) -> Iterator[Cluster]:
    """Starts both and ends them with all that they started."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    port_file = folder / "job_service.port"
    modules = {
        "runners.portability.local_job_service_main": ["--port_file", str(port_file)],
        "runners.worker.worker_pool_main": [f"--service_port={port}"],
    }
    processes = []
    try:
        for module, arguments in modules.items():
            with open(folder / f"{module}.log", "wb") as log:
                command = [sys.executable, "-m", f"apache_beam.{module}", *arguments]
                options = {"cwd": folder, "env": environment, "stdout": log, "stderr": log, "start_new_session": True}
                processes.append(subprocess.Popen(command, **options))
        _wait_for(processes, lambda: port_file.exists() and _listens(port))
        yield Cluster(f"localhost:{port_file.read_text()}", f"localhost:{port}")
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.wait()


def _wait_for(processes: list[subprocess.Popen], ready) -> None:
    end = time.monotonic() + _PATIENCE
    while not ready():
        assert all(process.poll() is None for process in processes), "a service of Beam ended; see its log"
        assert time.monotonic() < end, "the services of Beam do not answer"
        time.sleep(0.1)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("localhost", port)) == 0
