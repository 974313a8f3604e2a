"""Counts the examples of each split at each stage, and says where they differ.

split_counts("/data/windows/1f/window.json", examples, statistics, transformed, evaluation)
# {"train": {"manifest": 300, "SpanExampleGen": 300, "StatisticsGen": 300, "Transform": 299},
#  "eval": {"manifest": 178, "SpanExampleGen": 178, ..., "SegmentationEvaluator": 178}}
"""

import json
import os

import numpy as np
import tensorflow as tf
from tfx import types
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.types import artifact_utils

from components.errors import SegpipeError
from components.evaluator import SUMMARY
from components.example_gen.window import Window
from components.ingest.sources import SPLITS
from components.ingest.spans import MANIFEST, Manifest, read_record

MANIFESTS = "manifest"
EXAMPLE_GEN, STATISTICS, TRANSFORM, EVALUATOR = "SpanExampleGen", "StatisticsGen", "Transform", "SegmentationEvaluator"
_SOURCE = {EXAMPLE_GEN: MANIFESTS, STATISTICS: EXAMPLE_GEN, TRANSFORM: EXAMPLE_GEN, EVALUATOR: EXAMPLE_GEN}
"""Stage -> where its examples come from."""


def count_records(folder: str) -> int:
    """Number of records in the TFRecord files of a folder, each read to its end.

    Raises:
      SegpipeError: if a file cannot be read to its end.
    """
    names = sorted(tf.io.gfile.listdir(folder)) if tf.io.gfile.isdir(folder) else []
    if not names:
        return 0
    files = [os.path.join(folder, name) for name in names]
    records = tf.data.TFRecordDataset(files, num_parallel_reads=tf.data.AUTOTUNE)
    try:
        return int(records.reduce(np.int64(0), lambda count, _: count + 1))
    except tf.errors.OpError as error:
        what = error.message.splitlines()[0]
        raise SegpipeError(f"{folder}: its records cannot be read to the end ({what})") from error


def split_counts(
    window: Window,
    examples: types.Artifact,
    statistics: types.Artifact,
    transformed: types.Artifact,
    evaluation: types.Artifact,
) -> dict[str, dict[str, int]]:
    """Counts the examples of a run.

    Args:
      window: whose manifests say how many there must be: those of all spans train, those of the newest evaluate.
      examples, statistics, transformed, evaluation: artifacts of the stages. The evaluation has a summary.

    Returns:
      Split -> stage -> number of examples; the Evaluator has the evaluation split alone.

    Raises:
      SegpipeError: if records cannot be read to their end.
    """
    counts = {}
    for split in SPLITS:
        manifests = [read_record(os.path.join(s.folder, MANIFEST), Manifest) for s in window.of_split(split)]
        counts[split] = {
            MANIFESTS: sum(manifest.examples(split) for manifest in manifests),
            EXAMPLE_GEN: count_records(artifact_utils.get_split_uri([examples], split)),
            STATISTICS: int(stats_artifact_utils.load_statistics(statistics, split).proto().datasets[0].num_examples),
            TRANSFORM: count_records(artifact_utils.get_split_uri([transformed], split)),
        }
    summary = json.loads(evaluation.get_string_custom_property(SUMMARY))
    counts["eval"][EVALUATOR] = int(summary["metrics"]["photos"])
    return counts


def differences(counts: dict[str, dict[str, int]]) -> list[tuple[str, str]]:
    """Stages whose count is not that of where their examples come from.

    Returns:
      A stage and a sentence for each; stages in the order in which examples pass them.
    """
    found = []
    for split, stages in counts.items():
        for stage, source in _SOURCE.items():
            if stage in stages and stages[stage] != stages[source]:
                found.append(
                    (stage, f"{stage} has {stages[stage]} {split} examples where {source} has {stages[source]}")
                )
    return found
