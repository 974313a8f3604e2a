"""TFX's Trainer, whose export knows the run that made it."""

RUN_ID = "SEGPIPE_RUN_ID"
"""Environment variable that names the run where TFX does not tell a node."""
