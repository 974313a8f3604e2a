"""What a component did, in a few words for whoever waits: `478 photos`, `1,014 steps`, `no anomaly`."""

import json
import os
from collections.abc import Callable

from components.evaluator import SUMMARY
from components.run_report.data import named_anomalies, span_facts, statistics_facts
from components.run_report.facts import CURVE
from components.run_report.words import score_text
from pipeline.run_record import NodeRecord, RunRecord


def what_it_did(run: RunRecord, name: str) -> str:
    """A few words on a component that has finished; none for one of which there is nothing to tell.

    Args:
      run: as recorded.
      name: of the component.
    """
    node = run.nodes.get(name)
    if node is None or name not in _TELL:
        return ""
    return _TELL[name](node, run)


def _window(node: NodeRecord, run: RunRecord) -> str:
    facts = span_facts(node.parameters["window"].string_value)
    spans = ", ".join(str(span["span"]) for span in facts["spans"])
    return f"{_photos(facts['ingested'].values())} of span{'s' if ',' in spans else ''} {spans}"


def _statistics(node: NodeRecord, run: RunRecord) -> str:
    facts = statistics_facts(node.output("statistics").uri)
    return _photos(split["examples"] for split in facts.values())


def _transform(node: NodeRecord, run: RunRecord) -> str:
    return _statistics(run.nodes["StatisticsGen"], run)


def _anomalies(node: NodeRecord, run: RunRecord) -> str:
    count = len(named_anomalies(node.output("anomalies").uri))
    return {0: "no anomaly", 1: "1 anomaly"}.get(count, f"{count} anomalies")


def _trainer(node: NodeRecord, run: RunRecord) -> str:
    with open(os.path.join(node.output("model_run").uri, CURVE), encoding="utf-8") as file:
        return f"{json.load(file)['steps']:,} steps"


def _canary(node: NodeRecord, run: RunRecord) -> str:
    properties = node.output("blessing").custom_properties
    latency, memory = (properties[key].double_value for key in ("latency_ms", "memory_mb"))
    return f"{latency:.0f} ms an answer, {memory:.0f} MB"


def _evaluator(node: NodeRecord, run: RunRecord) -> str:
    summary = json.loads(node.output("evaluation").custom_properties[SUMMARY].string_value)
    score = score_text(summary["metrics"]["mean_iou"], summary["intervals"]["mean_iou"])
    return f"{_photos([summary['metrics']['photos']])}, mean IoU {score}"


def _pusher(node: NodeRecord, run: RunRecord) -> str:
    properties = node.output("pushed_model").custom_properties
    version = properties["pushed_version"].string_value
    return f"version {version}" if properties["pushed"].int_value else "nothing pushed"


def _photos(counts) -> str:
    total = int(sum(counts))
    return f"{total:,} photo{'' if total == 1 else 's'}"


_TELL: dict[str, Callable[[NodeRecord, RunRecord], str]] = {
    "SpanExampleGen": _window,
    "GoldenExamples": _window,
    "StatisticsGen": _statistics,
    "ExampleValidator": _anomalies,
    "Transform": _transform,
    "Trainer": _trainer,
    "ModelCanary": _canary,
    "SegmentationEvaluator": _evaluator,
    "GoldenEvaluator": _evaluator,
    "Conservation": lambda node, run: "all counts agree",
    "AtomicPusher": _pusher,
}
