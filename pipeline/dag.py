"""The DAG, top to bottom, the same on every engine."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow_data_validation as tfdv
from ml_metadata.proto import metadata_store_pb2
from tfx.components import ExampleValidator, Tuner
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.components.common.resolver import Resolver
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import trainer_pb2, transform_pb2
from tfx.types import standard_artifacts
from tfx.types.channel import Channel

from components.anomaly_gate.component import AnomalyGate
from components.base_model.strategy import TRAINING_ID, BaseModelStrategy
from components.conservation.component import Conservation
from components.evaluator.component import GoldenEvaluator, SegmentationEvaluator
from components.evaluator.eval_config import build_eval_config, build_golden_config
from components.example_gen.component import SpanExampleGen
from components.model_canary.component import ModelCanary
from components.pusher.component import AtomicPusher
from components.trainer.component import SegmentationTrainer
from components.transform.component import SegmentationTransform
from components.watched.components import StatisticsGen
from pipeline.beam_arguments import equip
from pipeline.config import Config
from pipeline.fingerprint import fingerprint
from pipeline.plan import RUN_FN, Places
from trainer.checkpoint import content_key
from trainer.pretrained import weights_digest

PREPROCESSING_FN = "trainer.preprocessing.preprocessing_fn"
TUNER_FN = "trainer.tuner.tuner_fn"


class Prepared(NamedTuple):
    """The nodes before training, in order, and those among them that others read."""

    nodes: list
    examples: Channel
    schema: Channel
    statistics: Channel
    transform: SegmentationTransform


def create_pipeline(
    config: Config,
    places: Places,
    metadata: metadata_store_pb2.ConnectionConfig | None = None,
    run_fn: str = RUN_FN,
    after_push: Callable[[AtomicPusher], list] = lambda pusher: [],
) -> Pipeline:
    """Builds the pipeline.

    Args:
      config: everything a user may choose.
      places: paths of this engine.
      metadata: MLMD connection, where the engine does not bring its own.
      run_fn: dotted name of the training function.
      after_push: the pusher -> what this engine does with a pushed model, as nodes.
    """
    prepared = _prepare(config, places)
    training = _train(config, places, prepared.transform, run_fn)
    model = training[-1].outputs["model"]
    canary = ModelCanary(model, prepared.examples, fingerprint("components.model_canary.executor"))

    blessed = Resolver(strategy_class=LatestBlessedModelStrategy, **_blessed_models()).with_id("LatestBlessedModel")

    evaluator = SegmentationEvaluator(
        examples=prepared.examples,
        schema=prepared.schema,
        model=model,
        baseline_model=blessed.outputs["model"],
        eval_config=build_eval_config(
            config.features,
            config.metrics,
            config.gate,
            list(config.data.slice_keys),
            fingerprint("components.evaluator.executor"),
        ),
    )
    # A blessing makes a baseline, so a model that does not load must not get as far as that.
    evaluator.add_upstream_node(canary)
    conservation = Conservation(
        window=places.window,
        examples=prepared.examples,
        statistics=prepared.statistics,
        transformed_examples=prepared.transform.outputs["transformed_examples"],
        evaluation=evaluator.outputs["evaluation"],
        verdict=evaluator.outputs["blessing"],
        fingerprint=fingerprint("components.conservation.executor"),
    )
    pusher = AtomicPusher(
        model=model,
        model_blessing=conservation.outputs["blessing"],
        infra_blessing=canary.outputs["blessing"],
        serving_folder=places.serving,
        serving=config.serving.model_dump_json(),
        fingerprint=fingerprint("components.pusher.executor"),
    )
    golden = _golden(config, places, prepared.schema, model, pusher)
    nodes = [*prepared.nodes, *training, canary, blessed, evaluator, conservation, pusher, *after_push(pusher), *golden]
    return _pipeline(config, places, metadata, nodes)


def create_tuning_pipeline(
    config: Config, places: Places, metadata: metadata_store_pb2.ConnectionConfig | None = None
) -> Pipeline:
    """Builds the pipeline of `segpipe tune`: the name and the nodes of a run as far as Transform, so that they share a
    cache, then the search.

    Args:
      config, places, metadata: see `create_pipeline`.
    """
    prepared = _prepare(config, places)
    transform = prepared.transform
    tuner = Tuner(
        tuner_fn=TUNER_FN,
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        # TFX asks for a second split by itself; the search reads but the first.
        train_args=trainer_pb2.TrainArgs(splits=["train"]),
        eval_args=trainer_pb2.EvalArgs(splits=["train"]),
        custom_config=_recipe(config, TUNER_FN) | {"tuning": config.tuning.model_dump_json()},
    )
    return _pipeline(config, places, metadata, [*prepared.nodes, tuner])


def _prepare(config: Config, places: Places) -> Prepared:
    example_gen = SpanExampleGen(places.window, fingerprint("components.example_gen.executor"))
    examples = example_gen.outputs["examples"]

    schema_gen = ImportSchemaGen(schema_file=places.schema)
    schema = schema_gen.outputs["schema"]

    statistics_gen = StatisticsGen(
        examples=examples, schema=schema, stats_options=tfdv.StatsOptions(enable_semantic_domain_stats=True)
    )
    validator = ExampleValidator(statistics=statistics_gen.outputs["statistics"], schema=schema)
    gate = AnomalyGate(
        validator.outputs["anomalies"], schema, places.comparisons, fingerprint("components.anomaly_gate.executor")
    )

    transform = SegmentationTransform(
        examples=examples,
        schema=schema,
        preprocessing_fn=PREPROCESSING_FN,
        splits_config=transform_pb2.SplitsConfig(analyze=["train"], transform=["train", "eval"]),
        disable_statistics=True,
        custom_config={
            "feature_spec": config.features.model_dump_json(),
            "fingerprint": fingerprint(PREPROCESSING_FN.rpartition(".")[0]),
            "executor": fingerprint("components.transform.executor"),
        },
    ).with_id("Transform")
    # TFX has no edge for "only if the gate let it pass".
    transform.add_upstream_node(gate)

    nodes = [example_gen, schema_gen, statistics_gen, validator, gate, transform]
    return Prepared(nodes, examples, schema, statistics_gen.outputs["statistics"], transform)


def _recipe(config: Config, function: str) -> dict[str, str]:
    """What a training function is told, and what its result depends on."""
    return {
        "feature_spec": config.features.model_dump_json(),
        "model": config.model.model_dump_json(),
        "training": config.training.model_dump_json(),
        "weights": weights_digest(config.model),
        "fingerprint": fingerprint(function.rpartition(".")[0]),
    }


def _train(config: Config, places: Places, transform: SegmentationTransform, run_fn: str) -> list:
    """The Trainer, and before it what finds the model of a warm start."""
    recipe = _recipe(config, run_fn) | {
        "checkpoints": places.checkpoints,
        "executor": fingerprint("components.trainer.executor"),
    }
    base_model = None
    if config.training.warm_start:
        recipe[TRAINING_ID] = content_key(places.window, places.schema, transform.exec_properties, recipe)
        base_model = Resolver(
            strategy_class=BaseModelStrategy, config={"training_id": recipe[TRAINING_ID]}, **_blessed_models()
        ).with_id("BaseModel")
    trainer = SegmentationTrainer(
        run_fn=run_fn,
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        base_model=base_model and base_model.outputs["model"],
        train_args=trainer_pb2.TrainArgs(splits=["train"]),
        eval_args=trainer_pb2.EvalArgs(splits=["eval"]),
        custom_config=recipe,
    ).with_id("Trainer")
    return [base_model, trainer] if base_model else [trainer]


def _golden(config: Config, places: Places, schema: Channel, model: Channel, pusher) -> list:
    """The evaluation on the golden span, if there is one."""
    if places.golden is None:
        return []
    examples = SpanExampleGen(places.golden, fingerprint("components.example_gen.executor")).with_id("GoldenExamples")
    evaluator = GoldenEvaluator(
        examples=examples.outputs["examples"],
        schema=schema,
        model=model,
        eval_config=build_golden_config(
            config.features,
            config.metrics,
            list(config.data.slice_keys),
            fingerprint("components.evaluator.executor"),
        ),
    )
    # It decides nothing, so it holds nothing up.
    evaluator.add_upstream_node(pusher)
    return [examples, evaluator]


def _blessed_models() -> dict[str, Channel]:
    """All models of the pipeline and their blessings, for a resolver."""
    artifacts = standard_artifacts
    return {
        "model": Channel(type=artifacts.Model),
        "model_blessing": Channel(type=artifacts.ModelBlessing),
    }


def _pipeline(
    config: Config, places: Places, metadata: metadata_store_pb2.ConnectionConfig | None, nodes: list
) -> Pipeline:
    equip(config, nodes)
    return Pipeline(
        pipeline_name=config.pipeline_name,
        pipeline_root=places.pipeline_root,
        components=nodes,
        enable_cache=True,
        metadata_connection_config=metadata,
    )
