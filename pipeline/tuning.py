"""`segpipe tune` and what `segpipe run --tuned` takes from it: `tuned.yaml` in the workspace."""

import json
import os
from dataclasses import dataclass
from typing import Any

import yaml

from components.errors import RefusedError, UsageError
from pipeline.config import Config
from pipeline.execute import watch
from pipeline.plan import plan
from pipeline.run_record import RunRecord
from pipeline.workspace import Workspace
from trainer.tuning import overlay, setting


@dataclass(frozen=True)
class Tuning:
    """A finished search.

    Attributes:
      trials: `trial_id`, `score` and a value per path, best first; those that failed are left out.
      best: path -> value.
      file: the YAML that `run --tuned` takes.
      log: path of the log.
    """

    trials: list[dict[str, Any]]
    best: dict[str, Any]
    file: str
    log: str


def tune(config: Config, workspace: Workspace, span: int | None, quiet: bool) -> Tuning:
    """Searches `tuning.space` on the training split of a span.

    Args:
      config: everything a user may choose.
      workspace: where to.
      span: which span; None takes the newest.
      quiet: write no progress.

    Raises:
      UsageError: before anything starts, if span, schema or config do not fit.
      RefusedError: if the data do not fit the schema.
      SegpipeError: if a component failed; it names the component and the log.
    """
    places = plan(config, workspace, span)

    def start(_: str) -> None:
        from tfx.orchestration.local.local_dag_runner import LocalDagRunner
        from tfx.orchestration.metadata import sqlite_metadata_connection_config

        from pipeline.dag import create_tuning_pipeline
        from pipeline.launching import launching

        metadata = sqlite_metadata_connection_config(workspace.metadata)
        with launching(workspace):
            LocalDagRunner().run(create_tuning_pipeline(config, places, metadata))

    run, log = watch(workspace, "tune", quiet, start)
    if run.verdict == "refused":
        raise RefusedError("refused, nothing is tuned: " + "; ".join(run.reasons))
    trials = _read_json(run, "tuner_results", "tuner_results.json")
    best = _read_json(run, "best_hyperparameters", "best_hyperparameters.txt")["values"]
    score = max(trial["score"] for trial in trials)
    title = (
        f"the best of {len(trials)} trials of segpipe tune, run {run.run_id}: mean_iou {score:.4f} on held-out photos"
    )
    _write_tuned(workspace.tuned, best, title)
    return Tuning(trials, best, workspace.tuned, log)


def _read_json(run: RunRecord, key: str, name: str) -> Any:
    with open(os.path.join(run.output("Tuner", key).uri, name), encoding="utf-8") as file:
        return json.load(file)


def _write_tuned(path: str, best: dict[str, Any], title: str) -> None:
    sections: dict[str, Any] = {}
    for name, value in best.items():
        *parents, key = name.split(".")
        place = sections
        for parent in parents:
            place = place.setdefault(parent, {})
        place[key] = value
    with open(path + ".part", "w", encoding="utf-8") as file:
        file.write(f"# {title}\n")
        yaml.safe_dump(sections, file)
    os.replace(path + ".part", path)


def with_tuned(config: Config, workspace: Workspace) -> tuple[Config, dict[str, tuple[Any, Any]]]:
    """The config with the values of the newest search.

    Returns:
      The config, and path -> value before and after.

    Raises:
      UsageError: if nothing was tuned yet or the file is not what `segpipe tune` writes.
    """
    path = workspace.tuned
    if not os.path.isfile(path):
        raise UsageError(f"--tuned: {path} does not exist; run segpipe tune --workspace {workspace.root} first")
    try:
        with open(path, encoding="utf-8") as file:
            content = yaml.safe_load(file)
        if not isinstance(content, dict):
            raise ValueError("holds no mapping of keys to values")
        values = _paths(content)
        model, training = overlay(config.model, config.training, values)
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{path}: {str(error).splitlines()[0]}; run segpipe tune again") from error
    taken = {p: (setting(config.model, config.training, p), setting(model, training, p)) for p in values}
    return config.model_copy(update={"model": model, "training": training}), taken


def _paths(sections: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"training": {"learning_rate": 1}}` -> `{"training.learning_rate": 1}`."""
    values = {}
    for key, value in sections.items():
        values |= _paths(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return values
