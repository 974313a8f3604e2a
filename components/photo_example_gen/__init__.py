"""Examples from a folder of photos that have no masks, for batch inference."""
