"""In how many processes Beam evaluates, where the config leaves that open."""

from tfx import types
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from components.ingest.shards import PHOTOS_PER_SHARD
from components.machine import useful_processes
from components.watched.processes import SEVERAL

# A worker needs 7 seconds until it has imported TFMA and loaded the models; then two give 1.46 times the answers of
# one, which takes 12 ms for a photo of 500x375 pixels and a model. Small photos, with half of that, pay from twice as
# many on.
_ANSWERS_PER_PROCESS = 1_500
# A worker was seen to take 1.2 GB.
_BYTES_PER_PROCESS = 3 << 29


def most_answers(examples: list[types.Artifact], splits: list[str], models: int) -> int:
    """How many photos of so many models an evaluation has to compare with their masks, by its shards, at most."""
    folders = [artifact_utils.get_split_uri([one], split) for one in examples for split in splits]
    return models * PHOTOS_PER_SHARD * sum(len(fileio.listdir(folder)) for folder in folders)


def in_useful_processes(arguments: list[str], answers: int) -> list[str]:
    """Options of Beam with as many processes as give so many answers fastest.

    Args:
      arguments: options of Beam; they stay as they are where they name another runner than Beam's own, or say
        themselves how it runs.
      answers: see `most_answers`.
    """
    named = {argument.partition("=")[0] for argument in arguments}
    if "--runner=DirectRunner" not in arguments or named & {"--direct_num_workers", "--direct_running_mode"}:
        return arguments
    processes = useful_processes(answers, _ANSWERS_PER_PROCESS, _BYTES_PER_PROCESS)
    if processes == 1:
        return arguments
    return [*arguments, SEVERAL, f"--direct_num_workers={processes}"]
