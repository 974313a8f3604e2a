"""TFX's Evaluator with segmentation metrics and a gate whose verdict can be read without TFMA."""
