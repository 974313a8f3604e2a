"""The command of every container on Vertex AI: runs one node's executor on the mounted bucket.

Vertex AI mounts `gs://BUCKET` at `/gcs/BUCKET`, and some executors need files that the operating system can open. So
addresses that a node is handed are replaced by paths, and paths that it hands back by addresses. A node that Dataflow
runs keeps the addresses: its workers have no mount. What the container was told and how it ended is noted for the
report (`pipeline.vertex_record`).

Exit status: 0 done, 1 failed, 3 refused by a gate. SEGPIPE_BUCKETS names another folder that holds the buckets.
"""

import json
import os
import sys

from absl import app
from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor as tfx_step

from components.errors import SegpipeError
from components.trainer import RUN_ID
from pipeline.newest import followed
from pipeline.record_io import prepare_record_io
from pipeline.vertex_record import addressed, mounted, recorded

_INVOCATION = "--json_serialized_invocation_args"


def _follow(invocation: str, job: str) -> str:
    """The arguments of a node with what its job reads, where a schedule names only the newest."""
    content = json.loads(invocation)
    inputs = content.get("inputs", {})
    if "parameterValues" in inputs:
        inputs["parameterValues"] = followed(inputs["parameterValues"], job, mounted)
    return json.dumps(content)


def _runner(arguments: list[str]) -> str:
    named = [argument.partition("=")[2] for argument in arguments if argument.startswith("--runner=")]
    return named[-1] if named else "DirectRunner"


def main() -> None:
    """Runs the executor that the arguments name, as TFX's entry point does."""
    arguments = sys.argv[1:]
    place = arguments.index(_INVOCATION) + 1
    output_file = json.loads(arguments[place])["outputs"]["outputFile"]
    # <root>/<project number>/<job>/<task>_<number>/executor_output.json
    os.environ[RUN_ID] = output_file.split("/")[-3]
    arguments[place] = _follow(arguments[place], os.environ[RUN_ID])
    on_mount = _runner(arguments) == "DirectRunner"
    if on_mount:
        arguments[place] = mounted(arguments[place])
        output_file = mounted(output_file)

    def work(parsed) -> None:
        prepare_record_io()
        tfx_step.main(parsed)
        if on_mount:
            with open(output_file, encoding="utf-8") as file:
                written = json.load(file)
            with open(output_file, "w", encoding="utf-8") as file:
                json.dump(addressed(written), file)

    def run(parsed) -> None:
        try:
            with recorded(json.loads(arguments[place])):
                work(parsed)
        except SegpipeError as error:
            print(f"segpipe: {error}", file=sys.stderr, flush=True)
            sys.exit(error.exit_status)

    app.run(run, argv=[sys.argv[0], *arguments], flags_parser=lambda argv: tfx_step._parse_flags(argv[1:]))


if __name__ == "__main__":
    main()
