"""Where a path really leads, links followed."""

import os


def is_inside(path: str, folder: str) -> bool:
    """Whether a path is a folder or lies in it, whatever links and `..` it holds; neither has to exist."""
    real, root = os.path.realpath(path), os.path.realpath(folder)
    return os.path.commonpath([real, root]) == root
