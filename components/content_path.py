"""Files whose path names their content.

TFX keys much by path alone; with the hash of the content in the path, an edit is a cache miss and a path stands for one
content for good.
"""

import hashlib
import os


def write_by_content(folder: str, name: str, text: str) -> str:
    """Writes `folder/<hash of the text>/<name>`, whole or not at all, if it is not there yet; returns the path."""
    path = os.path.join(os.path.abspath(folder), hashlib.sha256(text.encode()).hexdigest()[:16], name)
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        part = f"{path}.{os.getpid()}.part"
        with open(part, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(part, path)
    return path
