"""TFX's Trainer, whose export knows the run that made it."""
