"""Puts TFDV's anomalies into words; light enough for a report."""

from tensorflow_metadata.proto.v0 import anomalies_pb2

FILE = "SchemaDiff.pb"
"""What ExampleValidator writes in the folder of each split."""


def describe_anomalies(serialised: bytes) -> list[str]:
    """One `feature: description` per anomaly of a serialised Anomalies message."""
    message = anomalies_pb2.Anomalies.FromString(serialised)
    named = [f"{name or 'dataset'}: {info.description}" for name, info in sorted(message.anomaly_info.items())]
    if message.HasField("dataset_anomaly_info"):
        named.append(f"dataset: {message.dataset_anomaly_info.description}")
    return named


def strange_features(serialised: bytes) -> set[str]:
    """The features that have an anomaly."""
    return set(anomalies_pb2.Anomalies.FromString(serialised).anomaly_info)
