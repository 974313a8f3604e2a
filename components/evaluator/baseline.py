"""Finds out whether the baseline can still be asked: MLMD remembers a model also after somebody removed its files."""

import tensorflow as tf

from components.evaluator.eval_config import SIGNATURE


def lost_baseline(path: str) -> str | None:
    """What is wrong with a blessed model that cannot be compared with, as a sentence for log, summary and status.

    Args:
      path: folder of the SavedModel.

    Returns:
      None if it loads and has the signature that the evaluation asks.
    """
    if not tf.io.gfile.exists(path):
        return _sentence(path, "is gone")
    # TensorFlow tells a truncated file as any of these, depending on which file and where it ends.
    try:
        tf.saved_model.load(path).signatures[SIGNATURE]
    except (OSError, ValueError, LookupError, tf.errors.OpError) as error:
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        return _sentence(path, f"cannot be loaded ({what})")
    return None


def _sentence(path: str, what: str) -> str:
    return f"the baseline at {path} {what}, so nothing was compared and only the value thresholds decided"
