"""The intermediate representation of a pipeline, once on the disk that all steps share, under the hash of its content.

It may be larger than what fits on a command line, so steps are told the hash.
"""

import hashlib
import os
import tempfile

from tfx.proto.orchestration import pipeline_pb2

from components.errors import SegpipeError
from pipeline.workspace import Workspace


def ir_path(root: str, sha256: str) -> str:
    """Where a workspace keeps what `store_ir` wrote."""
    return os.path.join(Workspace(root).ir, f"{sha256}.pb")


def store_ir(root: str, pipeline: pipeline_pb2.Pipeline) -> str:
    """Writes it, unless it is there.

    Args:
      root: of the workspace.
      pipeline: as the compiler made it, without a run's id.

    Returns:
      Its SHA-256.
    """
    content = pipeline.SerializeToString(deterministic=True)
    sha256 = hashlib.sha256(content).hexdigest()
    path = ir_path(root, sha256)
    if not os.path.isfile(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        # Two runs may write the same one at once.
        with tempfile.NamedTemporaryFile(dir=os.path.dirname(path), suffix=".part", delete=False) as part:
            part.write(content)
            part.flush()
            os.fsync(part.fileno())
        os.replace(part.name, path)
    return sha256


def load_ir(root: str, sha256: str) -> pipeline_pb2.Pipeline:
    """Reads it back.

    Raises:
      SegpipeError: if it is gone or is not what was written.
    """
    path = ir_path(root, sha256)
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise SegpipeError(f"{path}: cannot be read ({error.strerror}); start a new run, which writes it") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise SegpipeError(f"{path}: is not the pipeline of this hash; remove the file and start a new run")
    return pipeline_pb2.Pipeline.FromString(content)
