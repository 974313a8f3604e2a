"""Hashes of source code, so that TFX's cache notices an edit.

TFX keys a dotted `run_fn`, a custom component and a metric by name alone. A fingerprint of the module and of all it
imports from this project, put into an execution property, makes an edit a cache miss for just the nodes that use it.
"""

import ast
import functools
import hashlib
import importlib.util

PACKAGES = ("pipeline", "components", "trainer", "schema")


@functools.cache
def fingerprint(module: str) -> str:
    """Hash of a module's source and of every module of this project that it imports, directly or not.

    Args:
      module: dotted name, such as `trainer.preprocessing`.

    Returns:
      16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name in sorted(import_closure(module)):
        digest.update(name.encode())
        digest.update(_source(name))
    return digest.hexdigest()[:16]


def joint_fingerprint(*modules: str) -> str:
    """Hash of several modules and of all that they import."""
    return hashlib.sha256(" ".join(fingerprint(module) for module in modules).encode()).hexdigest()[:16]


def import_closure(module: str) -> set[str]:
    """Names of the project's modules that a module needs, itself included; imports inside functions count too."""
    seen, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += _imports(name)
    return seen


def _imports(module: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(_source(module))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # `from trainer import features` imports a module, `from trainer.features import IMAGE` a name.
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name if _is_module(name) else node.module for name in submodules]
    return [name for name in found if name.split(".")[0] in PACKAGES and _is_module(name)]


def _is_module(name: str) -> bool:
    if name.split(".")[0] not in PACKAGES:
        return False
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _source(module: str) -> bytes:
    spec = importlib.util.find_spec(module)
    with open(spec.origin, "rb") as file:
        return file.read()
