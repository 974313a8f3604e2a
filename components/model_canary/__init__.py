"""Loads an exported model as a stranger would, before anyone may bless it."""
