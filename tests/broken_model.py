"""A `run_fn` that trains as usual and then exports with a signature missing, as a careless edit would."""

import os
import shutil

import tensorflow as tf

from trainer import train


def run_fn(fn_args):
    train.run_fn(fn_args)
    whole = fn_args.serving_model_dir + "-whole"
    os.rename(fn_args.serving_model_dir, whole)
    model = tf.saved_model.load(whole)
    signatures = {
        name: model.signatures[name] for name in ("masks", "from_examples", "masks_from_examples", "transform_features")
    }
    tf.saved_model.save(model, fn_args.serving_model_dir, signatures=signatures)
    shutil.copytree(os.path.join(whole, "assets.extra"), os.path.join(fn_args.serving_model_dir, "assets.extra"))
    shutil.rmtree(whole)
