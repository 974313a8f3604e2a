"""Two runs side by side: what differs in config and setup, and data and scores of both."""

from typing import Any

_SCORES = ("mean_iou", "pixel_accuracy", "binary_iou", "mean_boundary_f1")
_MISSING = None


def compare_runs(first: dict, second: dict) -> dict[str, dict[str, list]]:
    """Compares the facts of two runs.

    Args:
      first, second: see `components.run_report.facts.run_facts`.

    Returns:
      `run`: verdict, version and what else tells the runs apart; `config` and `source`: what differs; `data` and
      `metrics`: all there is. Each maps a name to the value of either run, None where it has none.
    """
    setups = [facts["setup"] for facts in (first, second)]
    if None in setups:
        # An older version kept none, and against nothing everything would differ.
        config = source = {"was kept": [setup is not None for setup in setups]}
    else:
        config = _pairs(*(flatten(setup["config"]) for setup in setups))
        source = _pairs(*(_source(setup) for setup in setups))
    return {
        "run": _pairs(*({"verdict": f["verdict"], "version": f["version"]} for f in (first, second))),
        "config": {name: pair for name, pair in config.items() if pair[0] != pair[1]},
        "source": {name: pair for name, pair in source.items() if pair[0] != pair[1]},
        "data": _pairs(_data(first), _data(second)),
        "metrics": _pairs(_metrics(first), _metrics(second)),
    }


def _source(setup: dict) -> dict[str, str | None]:
    return {key: setup[key] for key in ("engine", "commit", "source")} | setup["versions"]


def flatten(value: dict, prefix: str = "") -> dict[str, Any]:
    """`{"training": {"steps": 1}}` -> `{"training.steps": 1}`; lists and empty mappings stay whole."""
    flat = {}
    for key, inner in value.items():
        name = f"{prefix}{key}"
        flat |= flatten(inner, f"{name}.") if isinstance(inner, dict) and inner else {name: inner}
    return flat


def _pairs(first: dict, second: dict) -> dict[str, list]:
    return {name: [first.get(name, _MISSING), second.get(name, _MISSING)] for name in {**first, **second}}


def _data(facts: dict) -> dict[str, Any]:
    window, statistics = facts["data"]["window"], facts["data"]["statistics"]
    found: dict[str, Any] = {}
    if window is not None:
        found["spans"] = ", ".join(str(span["span"]) for span in window["spans"])
        found["photos found"] = window["found"]
        found |= {f"{split} photos": count for split, count in window["ingested"].items()}
        found["quarantined"] = sum(window["quarantined"].values())
    for split, one in statistics.items():
        found |= {f"{split}: share of {name}": share for name, share in one["class_share"].items()}
        found |= {
            f"{split}: mean {name}": one[name]["mean"] for name in ("brightness", "width", "height") if name in one
        }
    return found


def _metrics(facts: dict) -> dict[str, float | None]:
    metrics = facts["metrics"] or {}
    names = [*_SCORES, *(name for name in metrics if name.startswith("iou/"))]
    found = {name: metrics[name] for name in names if name in metrics}
    if facts["evaluation"]:
        found["evaluation photos"] = facts["evaluation"]["photos"]
    if facts["training"]:
        found["training steps"] = facts["training"]["steps"]
    return found
