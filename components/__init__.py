"""The stages that TFX does not have, or not as production needs them. Nothing in here knows a runner."""

import importlib

_TYPES = {"DataBlessing": "components.anomaly_gate.component", "EvaluationVerdict": "components.evaluator.component"}


def __getattr__(name: str):
    """Artifact types by the names that Vertex AI has of them, imported when asked for, as TFX takes seconds."""
    if name not in _TYPES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_TYPES[name]), name)
