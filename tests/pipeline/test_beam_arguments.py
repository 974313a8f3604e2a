"""The `beam` section, as Beam and as TFX get it."""

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.runners.runner import create_runner
from tfx.dsl.compiler.placeholder_utils import ResolutionContext, resolve_placeholder_expression
from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.orchestration.portable.data_types import ExecutionInfo

from components.anomaly_gate.executor import Executor
from components.errors import UsageError
from pipeline.beam_arguments import arguments_of, check, ingest_values, placeholders, values
from pipeline.beam_settings import BEAM_NODES
from pipeline.config import Config
from pipeline.dag import create_pipeline
from pipeline.remote import inputs_of, places_at

ARGUMENTS = ["--s3_secret_access_key=${A}", "--job_name=${B}-${A}-x"]
MEANT = ["--s3_secret_access_key=one$", "--job_name=two-one$-x"]


def direct(*options: str) -> list[str]:
    return ["--runner=DirectRunner", "--sdk_container_image=none", *options, "--allow_unsafe_triggers"]


DIRECT, ONE = direct(), direct("--direct_num_workers=1")
VERTEX = {"project": "pets-prod", "region": "europe-west4", "root": "gs://pets-bucket/segpipe", "image": "eu/segpipe:1"}


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    monkeypatch.setenv("A", "one$")
    monkeypatch.setenv("B", "two")
    # Beam asks the service about the bucket of a Dataflow job.
    monkeypatch.setattr(GoogleCloudOptions, "_warn_if_soft_delete_policy_enabled", lambda options, argument: None)


def config_of(default: dict | None = None, **sections) -> Config:
    return Config.model_validate(sections | {"beam": {"default": default or {}} | sections.get("beam", {})})


def test_beam_gets_the_values():
    assert values(config_of({"arguments": ARGUMENTS}), "ingest") == [*DIRECT, *MEANT]


def test_tfx_stores_the_names_and_its_launcher_gets_the_values():
    spec = BeamExecutorSpec(Executor)
    spec.beam_pipeline_args = placeholders(ARGUMENTS)
    stored = spec.encode()
    assert b"one$" not in stored.SerializeToString() and b"two" not in stored.SerializeToString()
    context = ResolutionContext(exec_info=ExecutionInfo())
    found = [resolve_placeholder_expression(argument, context) for argument in stored.beam_pipeline_args_placeholders]
    assert found == MEANT


def test_arguments_without_names_are_handed_on_as_they_are():
    plain = ["--what_beam_does_not_know", "--and=this"]
    assert placeholders(plain) == plain
    assert values(config_of({"arguments": plain}), "ingest") == [*DIRECT, *plain]


@pytest.mark.parametrize("node", ["ingest", "Transform"])
def test_an_option_with_a_secret_that_beam_would_write_into_its_log_is_refused(node):
    config = config_of({"arguments": ["--s3_secret_key=${A}"]})
    for convert in (values, lambda config, node: check(config)):
        with pytest.raises(UsageError, match="beam: --s3_secret_key is no option that Beam knows; mend its name"):
            convert(config, node)


def test_a_variable_that_is_not_set_is_found_before_anything_starts(monkeypatch):
    monkeypatch.delenv("B")
    config = config_of(beam={"nodes": {"BulkInferrer": {"arguments": ARGUMENTS}}})
    check(config, ["ingest", "Transform"])
    with pytest.raises(UsageError, match="beam: the environment variable B is not set; set it or drop"):
        check(config)


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({}, DIRECT),
        ({"direct_num_workers": 1}, ONE),
        ({"direct_num_workers": 4}, direct("--direct_running_mode=multi_processing", "--direct_num_workers=4")),
        (
            {"direct_num_workers": 0, "direct_running_mode": "multi_threading"},
            direct("--direct_running_mode=multi_threading", "--direct_num_workers=0"),
        ),
    ],
)
def test_several_workers_are_processes_unless_told_otherwise(given, options):
    assert arguments_of(config_of(given), "Transform") == options


def test_ingest_needs_no_beam_unless_the_config_says_something_of_it():
    assert ingest_values(config_of()) is None
    assert ingest_values(config_of({"direct_num_workers": 1})) == ONE
    own = {"nodes": {"ingest": {"direct_num_workers": 3}}}
    several = direct("--direct_running_mode=multi_processing", "--direct_num_workers=3")
    assert ingest_values(config_of(beam=own)) == several


FLINK = {"runner": "FlinkRunner", "job_endpoint": "flink:8099", "environment_config": "eu/segpipe:1", "parallelism": 8}
SPARK = {
    "runner": "SparkRunner",
    "spark_master_url": "spark://spark:7077",
    "environment_type": "EXTERNAL",
    "environment_config": "pool:50000",
    "sdk_worker_parallelism": 2,
    "setup_file": "setup.py",
}
DATAFLOW = {
    "runner": "DataflowRunner",
    "region": "us-east1",
    "setup_file": "setup.py",
    "machine_type": "n1-standard-4",
    "num_workers": 2,
    "max_num_workers": 8,
    "disk_size_gb": 50,
    "subnetwork": "regions/us-east1/subnetworks/a",
}


@pytest.mark.parametrize("given", [{"direct_num_workers": 2}, FLINK, SPARK, DATAFLOW], ids=str)
def test_beam_knows_each_key_and_takes_its_value(given):
    arguments = arguments_of(config_of(given, vertex=VERTEX), "Transform")
    options = PipelineOptions(arguments)
    kept = options.get_all_options()
    named = [argument.partition("=")[0].removeprefix("--") for argument in arguments]
    assert set(named) <= kept.keys() and len(set(named)) == len(named)
    for name, value in given.items():
        assert str(kept[name]) == str(value), name
    runner = create_runner(kept["runner"])
    assert type(runner).__name__ == given.get("runner", "SwitchingDirectRunner")
    assert PipelineOptionsValidator(options, runner).validate() == []


def test_a_node_has_its_own_runner_and_the_others_the_default():
    config = config_of({"direct_num_workers": 2}, beam={"nodes": {"Transform": FLINK}})
    config = config.model_copy(update={"data": config.data.model_copy(update={"golden_span": 9})})
    pipeline = create_pipeline(config, places_at("/root", dict.fromkeys(inputs_of(config), "/root/x")))
    given = {n.id: n.executor_spec.beam_pipeline_args for n in pipeline.components if isinstance(n, BaseBeamComponent)}
    # What a config may name is what there is; `segpipe infer` has the one and ingest is no node.
    assert given.keys() == set(BEAM_NODES) - {"ingest", "BulkInferrer"}
    assert given.pop("Transform")[0] == "--runner=FlinkRunner"
    assert {arguments[0] for arguments in given.values()} == {"--runner=DirectRunner"}


def test_dataflow_takes_from_the_section_vertex_what_its_own_leaves_out():
    arguments = arguments_of(config_of(DATAFLOW, vertex=VERTEX), "Transform")
    for argument in (
        "--project=pets-prod",
        "--region=us-east1",
        "--temp_location=gs://pets-bucket/segpipe/dataflow",
        "--sdk_container_image=eu/segpipe:1",
    ):
        assert argument in arguments


def test_dataflow_without_a_project_is_refused_before_anything_starts():
    with pytest.raises(UsageError, match="beam: Transform has project your-project, a placeholder; give it there or"):
        check(config_of(beam={"nodes": {"Transform": {"runner": "DataflowRunner"}}}))


def test_a_setup_file_that_is_not_there_is_refused(tmp_path):
    config = config_of(SPARK | {"setup_file": str(tmp_path / "setup.py")})
    with pytest.raises(UsageError, match=r"beam: ingest has setup_file .*/setup.py, which is no file; name a setup.py"):
        values(config, "ingest")
    (tmp_path / "setup.py").touch()
    assert f"--setup_file={tmp_path}/setup.py" in values(config, "ingest")


def test_dataflow_is_asked_for_the_workers_that_the_config_names(tmp_path):
    """Beam builds the job that it would send, and sends nothing."""
    own = {key: value for key, value in DATAFLOW.items() if key not in ("region", "setup_file")}
    arguments = arguments_of(config_of(own, vertex=VERTEX), "ingest")
    offline = ["--dry_run=True", "--no_auth", f"--dataflow_job_file={tmp_path}/job.json", "--sdk_location=container"]
    pipeline = beam.Pipeline(options=PipelineOptions([*arguments, *offline]))
    _ = pipeline | beam.Create([1])
    job = pipeline.run().job
    (environment,) = job.proto_pipeline.components.environments.values()
    assert b"eu/segpipe:1" in environment.payload
    asked = job.options.get_all_options(drop_default=True)
    assert {key: asked[key] for key in own if key != "runner"} == {key: own[key] for key in own if key != "runner"}
