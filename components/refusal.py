"""Where a gate leaves why it refused.

TFX removes the output of a failed execution and records no message, so the reasons go beside the output.
"""

import json
import os
from typing import NoReturn

from components.errors import RefusedError


def refusal_file(node_folder: str, execution_id: int | str) -> str:
    """Path of the JSON list of reasons that one execution had; `node_folder` is `<pipeline_root>/<node>`."""
    return os.path.join(node_folder, "refused", f"{execution_id}.json")


def refuse(output_uri: str, reasons: list[str]) -> NoReturn:
    """Leaves the reasons of an execution for `status`, and ends it.

    Args:
      output_uri: of any output artifact of the execution.
      reasons: one sentence each.

    Raises:
      RefusedError: always.
    """
    # `status` reads reasons and has no use for TFX, which takes seconds to import.
    from tfx.utils import io_utils

    path = refusal_file(os.path.dirname(os.path.dirname(output_uri)), os.path.basename(output_uri))
    io_utils.write_string_file(path, json.dumps(reasons))
    raise RefusedError("; ".join(reasons))
