"""Lets nothing train that does not fit the schema or is not what the span before was."""

DRIFT = "drift"
"""Custom property of `blessing`: the JSON list of what was compared with the span before, one entry per feature."""
