"""Which model a training begins with, on a real metadata store in memory."""

import json

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.types import standard_artifacts

from components.base_model.strategy import TRAINING_ID, BaseModelStrategy
from components.trainer.component import SegmentationTrainer


class Store:
    """Trainer executions as TFX records them, and models whose folders exist."""

    def __init__(self, folder):
        connection = metadata_store_pb2.ConnectionConfig()
        connection.fake_database.SetInParent()
        self.store, self._folder = mlmd.MetadataStore(connection), folder
        self._model_type = self.store.put_artifact_type(metadata_store_pb2.ArtifactType(name="Model"))
        self.models, self.blessings = [], []

    def model(self, blessed: bool = True) -> standard_artifacts.Model:
        uri = self._folder / str(len(self.models))
        uri.mkdir()
        stored = metadata_store_pb2.Artifact(type_id=self._model_type, uri=str(uri))
        model = standard_artifacts.Model()
        model.uri, (model.id,) = stored.uri, self.store.put_artifacts([stored])
        blessing = standard_artifacts.ModelBlessing()
        blessing.set_int_custom_property("current_model_id", model.id)
        blessing.set_int_custom_property("blessed", int(blessed))
        self.models.append(model)
        self.blessings.append(blessing)
        return model

    def trained(self, training_id: str | None, base: standard_artifacts.Model | None) -> None:
        kind = metadata_store_pb2.ExecutionType(name=SegmentationTrainer.get_class_type())
        execution = metadata_store_pb2.Execution(type_id=self.store.put_execution_type(kind))
        config = None if training_id is None else {TRAINING_ID: training_id}
        execution.custom_properties["custom_config"].string_value = json.dumps(config)
        (execution_id,) = self.store.put_executions([execution])
        if base is not None:
            event = metadata_store_pb2.Event(
                artifact_id=base.id, execution_id=execution_id, type=metadata_store_pb2.Event.INPUT
            )
            event.path.steps.add().key = "base_model"
            self.store.put_events([event])

    def base_of(self, training_id: str) -> standard_artifacts.Model | None:
        given = {"model": list(self.models), "model_blessing": list(self.blessings)}
        found = BaseModelStrategy(training_id).resolve_artifacts(self.store, given)
        assert found.keys() == {"model", "model_blessing"}
        return next(iter(found["model"]), None)


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path)


def test_the_first_training_of_all_begins_with_none(store):
    assert store.base_of("new") is None


def test_a_new_training_begins_with_the_latest_blessed_model(store):
    store.model()
    latest = store.model()
    store.model(blessed=False)
    store.trained("other", None)
    # A pipeline that ran before there were warm starts.
    store.trained(None, None)
    assert store.base_of("new").id == latest.id


def test_a_training_asked_for_again_begins_where_it_began(store):
    first = store.model()
    store.trained("mine", first)
    store.model()
    store.trained("other", None)
    assert store.base_of("mine").id == first.id


def test_a_training_that_began_from_scratch_does_so_again(store):
    store.trained("mine", None)
    store.model()
    assert store.base_of("mine") is None


def test_where_the_files_of_that_model_are_gone_the_latest_blessed_one_takes_its_place(store, tmp_path):
    store.trained("mine", store.model())
    latest = store.model()
    (tmp_path / "0").rmdir()
    assert store.base_of("mine").id == latest.id
    store.trained("mine", latest)
    store.model()
    assert store.base_of("mine").id == latest.id
