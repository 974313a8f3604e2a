"""The typed config: every field, its default and its rule. `load_config` reads YAML and says in one line what is wrong.

config = load_config("own.yaml")      # or load_config(None) for the defaults: Oxford-IIIT Pets
config.features.class_names
"""

import os
from typing import Annotated, Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from components.errors import UsageError
from components.evaluator.settings import GateSettings, MetricSettings
from components.ingest.datasets import DATASETS, Dataset
from components.ingest.settings import DataSettings
from components.pusher.settings import RetentionSettings
from components.run_report.settings import ModelCardSettings
from components.secrets import SECRET_NAME, shown
from pipeline.beam_settings import BeamSettings
from pipeline.kubeflow_settings import KubeflowSettings
from pipeline.vertex_settings import VertexSettings
from trainer.features import FeatureSpec
from trainer.settings import ModelSettings, TrainingSettings
from trainer.tuning import TuningSettings, typed_space

# PyYAML trusts its own patterns: `!!int`, `!!bool x`, `2001-99-99` and a thousand brackets leave it as these.
_YAML_ERRORS = (yaml.YAMLError, ValueError, IndexError, KeyError, TypeError, AttributeError, RecursionError)


class Config(BaseModel):
    """One pipeline.

    Attributes:
      pipeline_name: also the name under which the `tfx` command knows it.
      data: how photos and masks become examples.
      features: classes, mask values, input size, normalisation.
      schema_file: the schema the data must fit, relative to the config file; None takes the curated one, fitted to
        `features` and `data.slice_keys`.
      model, training: the net and its recipe.
      metrics: how a model is measured.
      tuning: what `segpipe tune` varies, and its budget.
      gate: what a model must reach.
      model_card: what the report says of the model beside its figures.
      serving: which pushed versions stay.
      downloads: datasets that `segpipe ingest --download` fetches, by name; what is said here of a known one replaces
        that, such as the `base_url` of a mirror.
      kubeflow: what Kubeflow Pipelines must know.
      beam: what runs the Beam pipelines.
      vertex: where and on what Vertex AI runs it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    # TFX takes 63 characters, and batch inference adds `.infer` to them.
    pipeline_name: str = Field(default="segpipe", pattern=r"^[a-z][a-z0-9-]*$", max_length=57)
    data: DataSettings = DataSettings()
    features: FeatureSpec = FeatureSpec()
    schema_file: str | None = None
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    metrics: MetricSettings = MetricSettings()
    tuning: TuningSettings = TuningSettings()
    gate: GateSettings = GateSettings()
    model_card: ModelCardSettings = ModelCardSettings()
    serving: RetentionSettings = RetentionSettings()
    downloads: dict[str, Dataset] = DATASETS
    kubeflow: KubeflowSettings = KubeflowSettings()
    beam: BeamSettings = BeamSettings()
    vertex: VertexSettings = VertexSettings()

    @field_validator("downloads", mode="before")
    @classmethod
    def _over_what_is_known(cls, downloads: object) -> object:
        if not isinstance(downloads, dict):
            return downloads
        known = {name: dataset.model_dump() for name, dataset in DATASETS.items()}
        for name, fields in downloads.items():
            known[name] = known.get(name, {}) | fields if isinstance(fields, dict) else fields
        return known

    @model_validator(mode="after")
    def _class_weights_name_what_there_is(self) -> "Config":
        if isinstance(self.training.class_weights, dict):
            strange = sorted(self.training.class_weights.keys() - set(self.features.class_names))
            if strange:
                raise ValueError(
                    f"training.class_weights: {strange[0]!r} is none of the classes {self.features.class_names}"
                )
        return self

    @model_validator(mode="after")
    def _tuning_names_what_there_is(self) -> "Config":
        try:
            typed_space(self.tuning, self.model, self.training)
        except ValueError as error:
            raise ValueError(f"tuning.space: {error}") from error
        return self

    @model_validator(mode="after")
    def _gate_names_what_there_is(self) -> "Config":
        for name in ("min_slice_mean_iou", "max_slice_drop"):
            for key in getattr(self.gate, name):
                if key not in self.data.slice_keys:
                    raise ValueError(f"gate.{name}: {key!r} is none of data.slice_keys {list(self.data.slice_keys)}")
        if isinstance(self.gate.min_class_iou, dict):
            strange = sorted(self.gate.min_class_iou.keys() - set(self.features.class_names))
            if strange:
                raise ValueError(
                    f"gate.min_class_iou: {strange[0]!r} is none of the classes {self.features.class_names}"
                )
        return self


def load_config(path: str | None) -> Config:
    """Reads a config file; what it leaves out keeps its default.

    Args:
      path: a YAML file, or None for the defaults.

    Raises:
      UsageError: if the file is missing, is no YAML mapping, or a key or value is wrong.
    """
    if path is None:
        return Config()
    try:
        with open(path, encoding="utf-8") as file:
            content = yaml.safe_load(file) or {}
    except OSError as error:
        raise UsageError(f"--config {path}: {error.strerror}; name a YAML file that can be read") from error
    except _YAML_ERRORS as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise UsageError(f"{path}{line}: is no YAML; mend the syntax") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: holds no mapping of keys to values; start it with a section such as `features:`")
    try:
        config = Config.model_validate(content)
    except ValidationError as error:
        raise UsageError(f"{path}: {_printable(_first_problem(error))}") from error
    if config.schema_file is not None:
        schema_file = os.path.join(os.path.dirname(os.path.abspath(path)), config.schema_file)
        if not os.path.isfile(schema_file):
            raise UsageError(f"{path}: schema_file: {schema_file} does not exist; name a schema or drop the key")
        config = config.model_copy(update={"schema_file": schema_file})
    if config.model.weights_file is not None:
        weights = os.path.join(os.path.dirname(os.path.abspath(path)), config.model.weights_file)
        config = config.model_copy(update={"model": config.model.model_copy(update={"weights": weights})})
    return config


def _printable(text: str) -> str:
    """One line that does nothing to a terminal, whatever keys a file has."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        fields = _fields_at(problem["loc"][:-1])
        return (
            f"{where} is no key of this section; it has {', '.join(fields)}" if fields else f"{where} is no known key"
        )
    message = problem["msg"].removeprefix("Value error, ")
    given = problem["input"]
    told = isinstance(given, (str, int, float, bool)) and not SECRET_NAME.search(where)
    got = f" (got {shown(repr(given))})" if told else ""
    return f"{where}: {message}{got}" if where else message


def _fields_at(location: tuple) -> list[str]:
    """Field names of the section that a path of keys leads to, for an error message."""
    place: Any = Config
    for key in location:
        place = _inside(place, key)
    return list(place.model_fields) if _is_section(place) else []


def _inside(place: Any, key: str | int) -> Any:
    """The type at a key of a section, a mapping, or sections to choose from; None where there is none."""
    if _is_section(place):
        return place.model_fields[key].annotation if key in place.model_fields else None
    if get_origin(place) is Annotated:
        return _inside(get_args(place)[0], key)
    if get_origin(place) is dict:
        return get_args(place)[1]
    return next((choice for choice in get_args(place) if _is_section(choice) and choice.__name__ == key), None)


def _is_section(place: Any) -> bool:
    return isinstance(place, type) and issubclass(place, BaseModel)
