"""Which schema a run uses: the user's own, the one that `segpipe schema accept` keeps, or the curated one; the last two
fitted to the configured classes and slice keys."""

import os

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components.content_path import write_by_content
from components.errors import UsageError
from pipeline.config import Config
from schema import SCHEMA_FILE
from trainer.features import CLASS_SHARE, FILENAME, RAW_FEATURES


def read_schema(path: str) -> schema_pb2.Schema:
    """Reads a schema in text format.

    Raises:
      UsageError: if it is none.
    """
    with open(path, encoding="utf-8") as file:
        try:
            return text_format.Parse(file.read(), schema_pb2.Schema())
        except (text_format.ParseError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: is no schema in protobuf text format ({error}); mend the file") from error


def fit_schema(known: schema_pb2.Schema, class_names: list[str], slice_keys: list[str]) -> schema_pb2.Schema:
    """Adapts a schema to other classes and slice keys; the curated one comes back as it is for those of Pets.

    Args:
      known: a schema with the features of every example, some `class_share/<name>` and some slice keys.
      class_names: classes that get a `class_share/<name>` feature; an unknown one is like any other.
      slice_keys: features that slice; an unknown one is like `filename`, without a domain.
    """
    features = {feature.name: feature for feature in known.feature}
    any_share = next(feature for name, feature in features.items() if name.startswith(CLASS_SHARE))
    fitted = schema_pb2.Schema()
    fitted.CopyFrom(known)
    del fitted.feature[:], fitted.string_domain[:]
    fitted.feature.extend(feature for name, feature in features.items() if name in RAW_FEATURES)
    for name in (CLASS_SHARE + class_name for class_name in class_names):
        feature = fitted.feature.add()
        feature.CopyFrom(features.get(name, any_share))
        feature.name = feature.float_domain.name = name
    for name in slice_keys:
        feature = fitted.feature.add()
        feature.CopyFrom(features.get(name, features[FILENAME]))
        feature.name = name
    domains = {feature.domain for feature in fitted.feature if feature.HasField("domain")}
    fitted.string_domain.extend(domain for domain in known.string_domain if domain.name in domains)
    return fitted


def schema_source(config: Config, kept: str) -> str:
    """The file that a run takes its schema from.

    Args:
      config: `schema_file` comes first.
      kept: the workspace's own, which comes before the curated one where it exists.
    """
    if config.schema_file is not None:
        return config.schema_file
    return kept if os.path.isfile(kept) else SCHEMA_FILE


def current_schema(config: Config, kept: str) -> schema_pb2.Schema:
    """The schema of the next run; see `schema_source`."""
    schema = read_schema(schema_source(config, kept))
    if config.schema_file is not None:
        return schema
    return fit_schema(schema, config.features.class_names, list(config.data.slice_keys))


def schema_for(config: Config, folder: str, kept: str) -> str:
    """Writes the schema of a run under the hash of its content.

    Args:
      config, kept: see `schema_source`.
      folder: where the schemas of runs are kept.

    Returns:
      Absolute path of the schema file.
    """
    return write_by_content(folder, "schema.pbtxt", text_format.MessageToString(current_schema(config, kept)))
