"""Publishes blessed models: whole or not at all, under versions that only grow."""
