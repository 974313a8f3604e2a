"""Hashes of source code, so that TFX's cache notices an edit.

TFX keys a dotted `run_fn`, a custom component and a metric by name alone. A fingerprint of the module and of all it
imports from this project, put into an execution property, makes an edit a cache miss for just the nodes that use it.
"""

import ast
import functools
import hashlib
import importlib.util
import os

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
    return [name for name in found if _is_module(name)]


def _is_module(name: str) -> bool:
    return name.split(".")[0] in PACKAGES and _file(name) is not None


@functools.cache
def _file(module: str) -> str | None:
    """Path of a module's source, None if there is none. `find_spec` would import the packages around it, and that is
    TensorFlow and all.
    """
    package, *rest = module.split(".")
    spec = importlib.util.find_spec(package)
    if spec is None or not rest:
        return None if spec is None else spec.origin
    inside = [os.path.join(place, *rest) for place in spec.submodule_search_locations or []]
    files = [file for path in inside for file in (f"{path}.py", os.path.join(path, "__init__.py"))]
    return next(filter(os.path.isfile, files), None)


def _source(module: str) -> bytes:
    with open(_file(module), "rb") as file:
        return file.read()
