"""The stages that TFX does not have, or not as production needs them. Nothing in here knows a runner."""
