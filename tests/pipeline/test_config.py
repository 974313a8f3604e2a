"""The config: what a file leaves out keeps its default, and what is wrong in it is one sentence."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from components.errors import UsageError
from pipeline.cli import main
from pipeline.config import Config, load_config

REPOSITORY = Path(__file__).parents[2]


def write(folder: Path, content: str | bytes) -> str:
    path = folder / "own.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


TWO = "{name: road, values: [0]}, {name: car, values: [4, 5]}"

WRONG = [
    # A key that does not exist: the message lists those that do.
    ("featurs: {}", "featurs is no key of this section; it has pipeline_name, data, features"),
    ("features: {hight: 96}", "features.hight is no key of this section; it has classes, .*height, width"),
    ("training: {augment: {flp: true}}", "training.augment.flp is no key of this section; it has enabled, flip"),
    ("features: {classes: [{name: a, values: [1], color: '#000000'}]}", "features.classes.0.color is no known key"),
    # A value that breaks a rule.
    ("pipeline_name: My Pipeline", "pipeline_name: .*got 'My Pipeline'"),
    ("features: {height: 97}", "features.height: .*multiple of 16 .got 97."),
    ("features: {height: high}", "features.height: .*got 'high'"),
    ("features: {background: sky}", "features: background: 'sky' is none of the classes"),
    ("features: {ignore_values: [2]}", "features: classes: mask value 2 is declared twice"),
    ("features: {ignore_values: [256]}", r"features: ignore_values: mask values lie in 0\.\.255"),
    ("features: {classes: [{name: a, values: [1]}], background: a}", "features: classes: name at least two"),
    ("features: {classes: [{name: a/b, values: [1]}]}", "features.classes.0.name: .*got 'a/b'"),
    ("features: {classes: [{name: a, values: [-1]}]}", r"features.classes.0.values: mask values lie in 0\.\.255"),
    ("features: {classes: [{name: a, values: [1]}, {name: a, values: [2]}]}", "features: classes: each name once"),
    ("features: {classes: [{name: a, values: [1]}, {name: b, values: [1]}]}", "mask value 1 is declared twice"),
    ("features: {classes: [{name: a, values: []}]}", "features.classes.0.values: "),
    ("data: {eval_share: 1}", "data.eval_share: .*less than 1"),
    ("data: {max_quarantine: 5%}", "data.max_quarantine: .*got '5%'"),
    ("data: {slice_keys: {breed: {'(': x}}}", r"data.slice_keys: breed: '\(' is no regular expression"),
    ("model: {name: vgg}", "model.name: .*'residual', 'unet' or 'encoder' .got 'vgg'."),
    ("training: {minutes: 1, steps: 5}", "training: give either minutes or steps"),
    ("training: {minutes: soon}", "training.minutes: .*got 'soon'"),
    ("training: {class_weights: {dog: 2}}", "training.class_weights: 'dog' is none of the classes"),
    ("training: {early_stopping: {patient: 3}}", "training.early_stopping.patient is no k"),
    ("model: {weights: imagenet}", "model: weights: the net 'residual' has no backbone"),
    ("gate: {min_mean_iou: 2}", "gate.min_mean_iou: .*got 2"),
    ("gate: {min_mean_iou: .nan}", "gate.min_mean_iou: .*got nan"),
    ("gate: {min_class_iou: {pet: 2}}", r"gate.min_class_iou: 2.0 is not in 0\.\.1"),
    ("gate: {min_slice_mean_iou: {dog: 0.2}}", "gate.min_slice_mean_iou: 'dog' is none of data.slice_keys"),
    ("gate: {max_slice_drop: {dog: 0.2}}", "gate.max_slice_drop: 'dog' is none of data.slice_keys"),
    ("gate: {max_slice_drop: {breed: 2}}", "gate.max_slice_drop: 2.0 is not in 0..1"),
    ("kubeflow: {root: work}", "kubeflow.root: 'work' is no absolute path; name a folder below the path of one of the"),
    (
        "kubeflow: {root: /elsewhere}",
        "kubeflow: root /elsewhere lies on none of the volumes ./segpipe., so",
    ),
    ("kubeflow: {steps: {Trainer: {memory: much}}}", "kubeflow: steps.Trainer.memory: .*got 'much'"),
    ("kubeflow: {metadata: {password: hunter2}}", "kubeflow.metadata.password: "),
    ("serving: {keep: 1}", "serving.keep: .*greater than or equal to 2 .got 1"),
    (
        "beam: {default: {arguments: [--s3_secret_access_key=hunter2]}}",
        "beam.default.DirectRunner.arguments: --s3_secret_access_key holds a secret; write --s3_",
    ),
    (
        "beam: {nodes: {Transform: {arguments: ['--azure_connection_string=k${A}']}}}",
        "beam.nodes.Transform.DirectRunner.arguments: --azure_connection_string holds a secret",
    ),
    ("downloads: {pets: {base_url: 'ftp://host/'}}", "downloads.pets.base_url: is no web address; begin it with https"),
    ("downloads: {pets: {base_url: 'https://a:hunter2@host'}}", "base_url: holds a password; .* .got 'https://host'"),
    ("downloads: {pets: {mirror: 'https://host'}}", "downloads.pets.mirror is no "),
    ("downloads: {own: {base_url: 'https://host'}}", "downloads.own.archives: Field required"),
    ("downloads: {pets: {archives: [{name: ../a, bytes: 1, sha256: a, holds: a}]}}", "archives.0.name: .*got '../a'"),
    ("metrics: {boundary_tolerance: -1}", "metrics.boundary_tolerance: .*got -1"),
    ("data: {golden_span: 0}", "data.golden_span: .*got 0"),
    ("gate: {min_slice_mean_iou: {breed: 2}}", "gate.min_slice_mean_iou: 2.0 is not in 0..1"),
    ("gate: {min_class_iou: {dog: 0.2}}", "gate.min_class_iou: 'dog' is none of the classes"),
    (f"features: {{classes: [{TWO}], background: road}}\ngate: {{min_class_iou: {{pet: 0.2}}}}", "'pet' is none of"),
    ("schema_file: nowhere.pbtxt", "schema_file: .*/nowhere.pbtxt does not exist"),
    ("beam: {default: {arguments: [streaming]}}", "arguments: 'streaming' is no option of Beam; write it as --name="),
    ("beam: {default: {arguments: [--runner=x]}}", "arguments: --runner is a key of DirectRunner; write runner: "),
    ("beam: {default: {runner: Spark}}", "beam.default: .*'Spark'.* 'DirectRunner', 'DataflowRunner', 'FlinkRunner'"),
    ("beam: {nodes: {Trainer: {}}}", "beam.nodes: 'Trainer' is nothing that Beam runs; it runs ingest, StatisticsGen"),
    (
        "beam: {nodes: {Transform: {runner: DataflowRunner, machine: n1}}}",
        "beam.nodes.Transform.DataflowRunner.machine is no key of this section; it has runner, .*machine_type, num",
    ),
    ("beam: {default: {max_num_workers: 2}}", "beam.default.DirectRunner.max_num_workers is no key of this section"),
    ("beam: {default: {direct_num_workers: -1}}", "beam.default.DirectRunner.direct_num_workers: .*got -1"),
    (
        "beam: {default: {runner: DataflowRunner, temp_location: /tmp}}",
        "beam.default.DataflowRunner.temp_location: .*got '/tmp'",
    ),
    (
        "beam: {default: {runner: DataflowRunner, num_workers: 3, max_num_workers: 2}}",
        "beam.default.DataflowRunner: num_workers 3 is more than max_num_workers 2",
    ),
    (
        "beam: {default: {runner: FlinkRunner, environment_type: LOOPBACK}}",
        "beam.default.FlinkRunner: give either flink_master or job_endpoint, to say where the cluster is",
    ),
    (
        "beam: {default: {runner: SparkRunner, job_endpoint: 'a:1'}}",
        "beam.default.SparkRunner: environment_config: DOCKER needs one: an image, JSON or host:port",
    ),
    (
        "beam: {default: {runner: SparkRunner, job_endpoint: 'a:1', spark_master_url: 'spark://a:7077'}}",
        "beam.default.SparkRunner: ",
    ),
    ("training: {strategy: multi_worker, processes: 3}", "training: batch_size 32 cannot be split evenly over 3 proc"),
    # A section that is no section, and a file that is no config.
    ("features:", "features: "),
    ("features: 3", "features: .*got 3"),
    ("data: {slice_keys: [breed]}", "data.slice_keys: "),
    ("only words", "holds no mapping of keys to values"),
    ("- a\n- b", "holds no mapping of keys to values"),
    ("features:\n  height: [96", "line 2: is no YAML|line 3: is no YAML"),
    ("a: b: c", "line 1: is no YAML"),
    ("\tfeatures: 1", "line 1: is no YAML"),
    (b"\xff\xfe\x00", "is no YAML"),
    ("features: !!python/object/apply:os.getcwd []", "line 1: is no YAML"),
]


@pytest.mark.parametrize("content, message", WRONG, ids=[str(content)[:40] for content, _ in WRONG])
def test_what_is_wrong_is_one_sentence_that_names_file_field_and_rule(tmp_path, content, message):
    path = write(tmp_path, content)
    with pytest.raises(UsageError, match=f"^{path}(, |: ).*({message})") as problem:
        load_config(path)
    assert "\n" not in str(problem.value)


UNCHECKED = [
    # A rule that names a group its pattern does not have fails in a Beam worker, after minutes.
    (r"data: {slice_keys: {breed: {'^a': '\1'}}}", "data.slice_keys: breed: "),
    # A slice key of this name would overwrite what ingest itself writes into the example.
    ("data: {slice_keys: {height: {'^a': b}}}", "data.slice_keys: height "),
    ("data: {slice_keys: {class_share/pet: {'^a': b}}}", "data.slice_keys: class_share/pet "),
    # Photos would be divided by zero.
    ("features: {pixel_std: [0.2, 0.0, 0.2]}", "features.pixel_std"),
]


@pytest.mark.parametrize("content, message", UNCHECKED, ids=[content for content, _ in UNCHECKED])
def test_what_would_fail_later_is_found_at_once(tmp_path, content, message):
    path = write(tmp_path, content)
    with pytest.raises(UsageError, match=f"^{path}: .*{message}"):
        load_config(path)


@pytest.mark.parametrize("path, message", [("gone.yaml", "No such file or directory"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read_is_named(tmp_path, path, message):
    with pytest.raises(UsageError, match=f"--config {tmp_path}/{path}: {message}"):
        load_config(f"{tmp_path}/{path}")


@pytest.mark.parametrize(
    "command", [["run"], ["ingest", "--images", "i", "--masks", "m"], ["predict", "a", "--output", "o"]], ids=" ".join
)
def test_a_command_stops_at_a_wrong_config_with_status_2_and_no_traceback(tmp_path, command):
    path = write(tmp_path, "gate: {min_mean_iou: 2}")
    workspace = tmp_path / "workspace"
    result = CliRunner().invoke(main, [*command, "--config", path, "--workspace", str(workspace)])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"segpipe: {path}: gate.min_mean_iou: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output
    # Nothing was started: the workspace was not even made.
    assert not workspace.exists()


@pytest.mark.parametrize("content", ["", "# only a comment\n", "{}"])
def test_a_file_without_keys_is_the_default(tmp_path, content):
    assert load_config(write(tmp_path, content)) == load_config(None) == Config()


def test_the_default_is_oxford_pets():
    config = load_config(None)
    assert [(c.name, c.values) for c in config.features.classes] == [
        ("pet", (1,)),
        ("background", (2,)),
        ("contour", (3,)),
    ]
    assert list(config.data.slice_keys) == ["breed", "species"]
    assert config.training.minutes and config.training.steps is None


def test_a_section_keeps_the_defaults_of_what_it_leaves_out(tmp_path):
    config = load_config(write(tmp_path, "training: {batch_size: 8}\nfeatures: {height: 64}\ngate: {max_drop: 0.1}"))
    default = Config()
    assert config.training == default.training.model_copy(update={"batch_size": 8})
    assert config.features == default.features.model_copy(update={"height": 64})
    assert config.gate == default.gate.model_copy(update={"max_drop": 0.1})
    assert (config.data, config.model, config.beam) == (default.data, default.model, default.beam)


def test_steps_replace_the_default_minutes(tmp_path):
    training = load_config(write(tmp_path, "training: {steps: 5}")).training
    assert (training.steps, training.minutes) == (5, None)


def test_own_classes_values_and_slices_need_no_python(tmp_path):
    content = f"""
        pipeline_name: streets
        features:
          classes: [{TWO}]
          ignore_values: [255, 254]
          background: road
        data:
          slice_keys: {{city: {{'^(\\w+)-': '\\1'}}}}
        gate: {{min_class_iou: {{car: 0.3}}}}
    """
    config = load_config(write(tmp_path, content))
    assert config.features.class_names == ["road", "car"]
    assert config.features.mask_values == {0, 4, 5, 254, 255}
    assert config.features.label_table()[[0, 4, 5, 255, 9]].tolist() == [0, 1, 1, 255, 255]
    assert config.data.slice_values("ulm-17") == {"city": "ulm"}
    assert (config.gate.class_bound("car"), config.gate.class_bound("road")) == (0.3, 0.0)


def test_a_dataset_may_have_no_slices(tmp_path):
    assert load_config(write(tmp_path, "data: {slice_keys: {}}")).data.slice_keys == {}


def test_a_schema_file_is_found_beside_its_config_from_any_folder(tmp_path, monkeypatch):
    (tmp_path / "own.pbtxt").touch()
    path = write(tmp_path, "schema_file: own.pbtxt")
    monkeypatch.chdir("/")
    assert load_config(path).schema_file == str(tmp_path / "own.pbtxt")


def test_weights_are_found_beside_their_config_and_imagenet_is_no_file(tmp_path):
    def weights(content):
        return load_config(write(tmp_path, content)).model.weights

    assert weights("model: {name: encoder, weights: own.weights.h5}") == str(tmp_path / "own.weights.h5")
    assert weights("model: {name: encoder, weights: /weights/own.h5}") == "/weights/own.h5"
    assert weights("model: {name: encoder}") == "imagenet"
    assert weights("model: {name: encoder, weights: none}") == "none"


@pytest.mark.parametrize("written, meant", [("on", True), ("off", False), ("auto", "auto")])
def test_mixed_precision_is_written_without_quotes(tmp_path, written, meant):
    training = load_config(write(tmp_path, f"training: {{mixed_precision: {written}}}")).training
    assert training.mixed_precision == meant


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs").glob("*.y*ml")), ids=lambda path: path.name)
def test_every_config_of_the_repository_loads(path):
    assert load_config(str(path)) != Config()
