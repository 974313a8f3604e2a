"""Which schema a run uses: the user's own, or the curated one fitted to the configured classes and slice keys."""

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components.content_path import write_by_content
from components.errors import UsageError
from pipeline.config import Config
from schema import SCHEMA_FILE
from trainer.features import CLASS_SHARE


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


def fit_schema(curated: schema_pb2.Schema, class_names: list[str], slice_keys: list[str]) -> schema_pb2.Schema:
    """Adapts the curated schema to other classes and slice keys; for those of Pets it comes back as it is.

    Args:
      curated: a schema with `class_share/<name>` features and slice keys; any one of each serves as the pattern.
      class_names: classes that get a `class_share/<name>` feature.
      slice_keys: features that slice; one that the curated schema does not know gets no domain.
    """
    shares = {f.name: f for f in curated.feature if f.name.startswith(CLASS_SHARE)}
    keys = {f.name: f for f in curated.feature if f.HasField("domain")}
    fitted = schema_pb2.Schema()
    fitted.CopyFrom(curated)
    del fitted.feature[:], fitted.string_domain[:]
    fitted.feature.extend(f for f in curated.feature if f.name not in shares and f.name not in keys)
    for name in (CLASS_SHARE + class_name for class_name in class_names):
        feature = fitted.feature.add()
        feature.CopyFrom(shares.get(name, next(iter(shares.values()))))
        feature.name = feature.float_domain.name = name
    for name in slice_keys:
        feature = fitted.feature.add()
        feature.CopyFrom(keys.get(name, next(iter(keys.values()))))
        if name not in keys:
            feature.name = name
            feature.ClearField("domain")
    fitted.string_domain.extend(d for d in curated.string_domain if d.name in slice_keys)
    return fitted


def schema_for(config: Config, folder: str) -> str:
    """Writes the schema of a run under the hash of its content.

    Args:
      config: `schema_file` or, where it is None, classes and slice keys.
      folder: where the schemas of runs are kept.

    Returns:
      Absolute path of the schema file.
    """
    if config.schema_file is not None:
        schema = read_schema(config.schema_file)
    else:
        schema = fit_schema(read_schema(SCHEMA_FILE), config.features.class_names, list(config.data.slice_keys))
    return write_by_content(folder, "schema.pbtxt", text_format.MessageToString(schema))
