"""Where the canary leaves why it refused a model.

TFX removes the output of a failed execution and records no message, so the reasons go beside the output.
"""

import os


def refusal_file(node_folder: str, execution_id: int | str) -> str:
    """Path of the JSON list of reasons that one execution had; `node_folder` is `<pipeline_root>/ModelCanary`."""
    return os.path.join(node_folder, "refused", f"{execution_id}.json")
