"""Publishes blessed models: whole or not at all, under versions that only grow."""

NEW_VERSION = "new_version"
"""Custom property of `pushed_model`: 1 if this execution published, 0 if the model was live already."""
