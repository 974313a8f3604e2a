"""TFX's Transform, whose examples are written uncompressed."""
