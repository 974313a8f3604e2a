"""What the model is: features, preprocessing, augmentation, nets, training, export and metrics.

Nothing in here knows how or where the pipeline runs.
"""
