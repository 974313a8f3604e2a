"""The data of a run in figures: from manifests, TFDV's statistics and anomalies, without reading an example."""

import collections
import json
import os
from collections.abc import Iterator

from tensorflow_metadata.proto.v0 import statistics_pb2

from components.anomaly_gate.anomalies import FILE, describe_anomalies
from components.example_gen.window import Window
from components.ingest.sources import SPLITS
from components.ingest.spans import MANIFEST, QUARANTINE, Manifest, read_record
from trainer.features import BRIGHTNESS, CLASS_SHARE, HEIGHT, WIDTH

_STATISTICS = "FeatureStats.pb"
_FILES_NAMED = 25


def span_facts(window: str) -> dict:
    """What the manifests of a window say.

    Args:
      window: path of its JSON.

    Returns:
      `spans`: one dict each, `gone` true where its files were removed since; `found`, `ingested` (by split: train of
      all spans, eval of the newest), `quarantined` (reason -> photos), `quarantined_files` (the first few, with reason
      and detail) and `formats` (suffix -> photos), all over the spans that are there.
    """
    read = read_record(window, Window)
    spans, quarantined, formats = [], collections.Counter(), collections.Counter()
    ingested, found, files = dict.fromkeys(SPLITS, 0), 0, []
    for span in read.spans:
        path = os.path.join(span.folder, MANIFEST)
        entry = {"span": span.number, "manifest_sha256": span.manifest_sha256, "gone": not os.path.isfile(path)}
        spans.append(entry)
        if entry["gone"]:
            continue
        manifest = read_record(path, Manifest)
        examples = {split: manifest.examples(split) for split in SPLITS}
        entry |= {"found": manifest.photos_found, **examples, "tool_version": manifest.tool_version}
        spans[-1] = entry
        found += manifest.photos_found
        for split in SPLITS:
            ingested[split] += examples[split] if span in read.of_split(split) else 0
        quarantined.update(manifest.quarantined)
        formats.update(os.path.splitext(source.photo)[1].lower() for source in manifest.sources)
        files += list(_quarantined_files(span.folder, _FILES_NAMED - len(files)))
    return {
        "spans": spans,
        "found": found,
        "ingested": ingested,
        "quarantined": dict(quarantined.most_common()),
        "quarantined_files": files,
        "formats": dict(formats.most_common()),
    }


def _quarantined_files(folder: str, most: int) -> Iterator[dict]:
    path = os.path.join(folder, QUARANTINE)
    if os.path.isfile(path):
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            for _, line in zip(range(most), file, strict=False):
                entry = json.loads(line)
                yield {key: str(entry.get(key) or "") for key in ("file", "reason", "detail")}


def statistics_facts(folder: str) -> dict[str, dict]:
    """What TFDV measured.

    Args:
      folder: of the ExampleStatistics artifact.

    Returns:
      Split -> `examples`; `class_share`: class -> mean share of a photo's pixels; and for `height`, `width` and
      `brightness` a dict of `mean`, `std`, `min`, `max` and `histogram`, a list of [from, to, photos].
    """
    found = {}
    for split in SPLITS:
        path = os.path.join(folder, f"Split-{split}", _STATISTICS)
        if os.path.isfile(path):
            with open(path, "rb") as file:
                found[split] = _split_facts(statistics_pb2.DatasetFeatureStatisticsList.FromString(file.read()))
    return found


def _split_facts(statistics: statistics_pb2.DatasetFeatureStatisticsList) -> dict:
    (dataset,) = statistics.datasets
    numbers = {_name(f): f.num_stats for f in dataset.features if f.HasField("num_stats")}
    facts = {"examples": int(dataset.num_examples)}
    facts["class_share"] = {
        name.removeprefix(CLASS_SHARE): stats.mean for name, stats in numbers.items() if name.startswith(CLASS_SHARE)
    }
    return facts | {name: _number(numbers[name]) for name in (HEIGHT, WIDTH, BRIGHTNESS) if name in numbers}


def _name(feature: statistics_pb2.FeatureNameStatistics) -> str:
    return feature.name or ".".join(feature.path.step)


def _number(stats: statistics_pb2.NumericStatistics) -> dict:
    standard = [h for h in stats.histograms if h.type == statistics_pb2.Histogram.STANDARD]
    buckets = [[b.low_value, b.high_value, round(b.sample_count)] for h in standard[:1] for b in h.buckets]
    return {
        "mean": stats.mean,
        "std": stats.std_dev,
        "min": stats.min,
        "max": stats.max,
        "histogram": buckets,
    }


def named_anomalies(folder: str) -> list[str]:
    """What TFDV found against the schema, a sentence each; `folder` is that of the ExampleAnomalies artifact."""
    named = []
    for split in SPLITS:
        path = os.path.join(folder, f"Split-{split}", FILE)
        if os.path.isfile(path):
            with open(path, "rb") as file:
                named += [f"{split}: {text}" for text in describe_anomalies(file.read())]
    return named
