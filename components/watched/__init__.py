"""TFX's components whose Beam processes are watched, and what watches them."""
