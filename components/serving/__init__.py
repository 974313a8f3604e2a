"""Serves the pushed model on this machine: a page to try it, and TensorFlow Serving's REST API."""
