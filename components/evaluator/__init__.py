"""TFX's Evaluator with segmentation metrics and a gate whose verdict can be read without TFMA."""

SUMMARY = "summary"
"""Custom property of `evaluation`: the JSON of its scores and refusals."""
