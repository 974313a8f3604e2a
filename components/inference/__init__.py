"""Asks a pushed model about photos: for `predict`, `evaluate` and the pictures of a report."""
