"""Sees to it that no example is lost between the manifest and the evaluation."""

COUNTS = "counts"
"""Custom property of `blessing`: the JSON of split -> stage -> number of examples."""
