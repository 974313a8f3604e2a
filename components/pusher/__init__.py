"""Publishes blessed models: whole or not at all, under versions that only grow."""

NEW_VERSION = "new_version"
"""Custom property of `pushed_model`: 1 if this execution published, 0 if the model was live already."""
LIVE = "live"
"""Custom property of `pushed_model` where nothing was pushed: 1 if the refused model is the live one all the same."""
