"""Google's own client submits and schedules the pipeline on a service that takes nothing it does not know."""

import json
from pathlib import Path

import pytest
from api_server import Failure
from desk import Desk
from google.cloud.aiplatform_v1 import types
from google.protobuf import json_format
from google.rpc import status_pb2
from manifests import write_span
from vertex_service import PARENT, VertexService, vertex_service

from components.example_gen.window import read_window
from pipeline import remote_calls, remote_runs
from pipeline.config import Config, load_config
from pipeline.vertex_runner import compile_job

ROOT = "gs://pets-bucket/segpipe"
VERTEX = {
    "project": "pets-prod",
    "region": "europe-west4",
    "root": ROOT,
    "image": "europe-west4-docker.pkg.dev/pets-prod/segpipe/segpipe:1",
    "service_account": "runner@pets-prod.iam.gserviceaccount.com",
    "labels": {"team": "vision"},
}
MONDAYS = "0 3 * * 1"
MANAGED = "https://console.cloud.google.com/vertex-ai/locations/europe-west4/pipelines"


class VertexDesk(Desk):
    """A workspace of three spans, its config, and the command line on both."""

    def __init__(self, folder: Path, service: VertexService):
        super().__init__(folder, "vertex", VERTEX | {"endpoint": service.url})
        self.service = service
        for number in (1, 2, 3):
            self.ingest(number)

    def ingest(self, number: int) -> None:
        write_span(self.workspace, number, Config(), sources={f"{number}a": "train", f"{number}b": "eval"})

    def path(self, address: str) -> Path:
        return self.service.buckets / address.removeprefix("gs://")


@pytest.fixture
def service(tmp_path, monkeypatch):
    (tmp_path / "buckets" / "pets-bucket").mkdir(parents=True)
    with vertex_service(tmp_path / "buckets") as service:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", service.url)
        # No credentials of whoever runs the tests may be found.
        monkeypatch.setenv("NO_GCE_CHECK", "true")
        monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "no-gcloud"))
        monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
        monkeypatch.setattr(remote_calls, "PAUSES", (0.0, 0.0, 0.0, 0.0))
        monkeypatch.setattr(remote_runs, "POLL_SECONDS", 0.0)
        yield service


@pytest.fixture
def desk(tmp_path, service):
    return VertexDesk(tmp_path, service)


def plain(job: types.PipelineJob) -> dict:
    return json_format.MessageToDict(type(job).pb(job))


def test_a_job_is_submitted_with_what_was_compiled_and_what_it_reads(desk, service):
    done = desk.submit("--window", "2")
    (request,) = service.asked("CreatePipelineJob")
    name, job = request.pipeline_job_id, plain(request.pipeline_job)
    assert done.stdout == f"submitted {name}\n{MANAGED}/runs/{name}?project=pets-prod\n"
    assert request.parent == PARENT
    assert job["pipelineSpec"] == json.loads(json.dumps(compile_job(load_config(str(desk.config)))["pipelineSpec"]))
    assert (job["displayName"], job["serviceAccount"]) == ("segpipe", VERTEX["service_account"])
    assert job["labels"]["team"] == "vision"
    assert job["runtimeConfig"]["gcsOutputDirectory"] == f"{ROOT}/pipeline_root"
    parameters = job["runtimeConfig"]["parameterValues"]
    assert parameters.keys() == {"window", "comparisons", "schema"}
    window = read_window(str(desk.path(parameters["window"])))
    assert [span.number for span in window.spans] == [2, 3]
    assert desk.path(parameters["schema"]).read_text().startswith("feature")


def test_a_span_may_be_named_and_the_result_is_there_for_machines(desk, service):
    told = json.loads(desk.submit("--span", "1", "--json").stdout)
    (request,) = service.asked("CreatePipelineJob")
    assert told == {
        "engine": "vertex",
        "name": request.pipeline_job_id,
        "address": f"{MANAGED}/runs/{request.pipeline_job_id}?project=pets-prod",
    }
    window = dict(request.pipeline_job.runtime_config.parameter_values)["window"]
    assert [span.number for span in read_window(str(desk.path(window))).spans] == [1]


def test_a_server_on_this_machine_is_told_no_credentials(desk, service):
    desk.submit()
    assert service.headers and not [headers for headers in service.headers if "Authorization" in headers]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_passes_is_tried_again(desk, service, status):
    service.failures["CreatePipelineJob"] = [Failure(status), Failure(status)]
    desk.submit()
    assert service.tried == ["CreatePipelineJob"] * 3
    assert len(service.jobs) == 1


def test_a_job_whose_answer_was_lost_is_not_submitted_twice(desk, service):
    service.failures["CreatePipelineJob"] = [Failure(500, after=True)]
    done = desk.submit()
    (name,) = service.jobs
    assert done.stdout.startswith(f"submitted {name.rpartition('/')[2]}\n")


@pytest.mark.parametrize(
    "failure, tries, status, told",
    [
        (
            Failure(403, "Permission 'aiplatform.pipelineJobs.create'\ndenied"),
            1,
            1,
            "Vertex AI refuses this account (403: Permission 'aiplatform.pipelineJobs.create' denied); let the account "
            "have the role Vertex AI User in the project pets-prod and write access to gs://pets-bucket/segpipe",
        ),
        (Failure(429, "Quota exceeded"), 5, 1, "takes no more now (429: Quota exceeded), tried 5 times; wait, or ask"),
        (Failure(500, "Internal"), 5, 1, "is in trouble (500: Internal), tried 5 times; run the same command again"),
        (Failure(400, "Unknown machine"), 1, 2, "does not take this (400: Unknown machine); mend what it names"),
    ],
)
def test_what_stays_is_one_sentence(desk, service, failure, tries, status, told):
    service.failures["CreatePipelineJob"] = [failure] * 9
    done = desk.submit(status=status)
    assert told in done.stderr
    assert (len(service.tried), done.stdout, service.jobs) == (tries, "", {})


def test_a_bucket_that_refuses_or_is_not_there_stops_the_submission(desk, service):
    service.failures["storage"] = [Failure(403, "no storage.objects.get access")] * 9
    assert "no storage.objects.get access" in desk.submit(status=1).stderr
    service.failures.clear()
    desk.section["root"] = "gs://other-bucket/segpipe"
    assert "other-bucket" in desk.submit(status=2).stderr
    assert service.tried == []


def test_a_service_that_is_not_there_is_one_sentence(desk, service):
    desk.section["endpoint"] = "http://127.0.0.1:9"
    told = "http://127.0.0.1:9: Vertex AI cannot be reached (ConnectionError), tried 5 times; check the address"
    assert told in desk.submit(status=1).stderr


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"project": "your-project"}, "vertex.project: still a placeholder; say in the config where"),
        ({"region": "mars-north1"}, "vertex.region: Vertex AI is not in mars-north1; name a region"),
        ({"endpoint": None}, "this machine has no credentials for Google Cloud; run gcloud auth"),
        ({"endpoint": "http://vertex.example"}, "vertex.endpoint: "),
    ],
)
def test_what_cannot_be_submitted_is_wrong_usage_before_anything_is_copied(desk, changes, told):
    desk.section |= changes
    assert told in desk.submit(status=2).stderr
    assert not list(desk.service.buckets.rglob("*.json"))


def test_a_span_that_is_not_there_is_wrong_usage(desk, service):
    assert "--span 9: nothing new" in desk.submit("--span", "9", status=2).stderr
    assert service.tried == []


def task(name: str, state: str, error: str = "", **outputs: dict) -> types.PipelineTaskDetail:
    made = {key: {"artifacts": [{"metadata": metadata}]} for key, metadata in outputs.items()}
    detail = types.PipelineTaskDetail(task_name=name, state=types.PipelineTaskDetail.State[state], outputs=made)
    if state != "RUNNING":
        detail.end_time = "2026-11-25T12:00:00Z"
    if error:
        detail.error = status_pb2.Status(code=9, message=error)
    return detail


def course(*stages: tuple[str, list]) -> list[types.PipelineJob]:
    jobs = []
    for state, tasks in stages:
        group = types.PipelineTaskDetail(task_id=1, task_name="tfx-dag", state=types.PipelineTaskDetail.State.FAILED)
        for number, each in enumerate(tasks):
            each.task_id, each.parent_task_id = number + 2, 1
        detail = {"task_details": [*([group] if tasks else []), *tasks]}
        jobs.append(types.PipelineJob(state=types.PipelineState[f"PIPELINE_STATE_{state}"], job_detail=detail))
    return jobs


def test_a_run_is_followed_to_its_push(desk, service):
    trained = task("Trainer", "SUCCEEDED")
    pushed = task("AtomicPusher", "SUCCEEDED", pushed_model={"pushed": 1, "pushed_version": "1700000000"})
    running = ("RUNNING", [task("Trainer", "RUNNING")])
    service.course = course(running, ("RUNNING", [trained]), ("SUCCEEDED", [trained, pushed]))
    service.failures["GetPipelineJob"] = [Failure(503)]
    lines = desk.submit("--wait").stdout.splitlines()
    assert lines[2:] == ["Trainer succeeded", "AtomicPusher succeeded", "pushed, live is version 1700000000"]


REFUSALS = json.dumps({"refusals": ["mean_iou 0.2 is below 0.5"]})


@pytest.mark.parametrize(
    "stage, status, told",
    [
        (
            (
                "SUCCEEDED",
                [
                    task("SegmentationEvaluator", "SUCCEEDED", evaluation={"summary": REFUSALS}),
                    task("AtomicPusher", "SUCCEEDED", pushed_model={"pushed": 0}),
                ],
            ),
            3,
            "refused: mean_iou 0.2 is below 0.5",
        ),
        (
            ("FAILED", [task("AnomalyGate", "FAILED", "The replica exited with a non-zero status of 3.")]),
            3,
            "refused: AnomalyGate refused; its log has the reasons",
        ),
        (
            ("FAILED", [task("AnomalyGate", "FAILED", "The replica exited with a non-zero status of 1.")]),
            1,
            "failed: AnomalyGate: The replica exited with a non-zero status of 1.",
        ),
        (("FAILED", [task("Trainer", "FAILED", "out of memory")]), 1, "failed: Trainer: out of memory"),
        (("CANCELLED", []), 1, "failed: the job was cancelled"),
    ],
)
def test_a_run_that_pushes_nothing_ends_the_command_as_it_ended(desk, service, stage, status, told):
    service.course = course(stage)
    assert told in desk.submit("--wait", status=status).stderr


def test_a_schedule_runs_one_at_a_time_on_what_was_uploaded_last(desk, service):
    done = desk.schedule("--cron", MONDAYS, "--window", "2")
    (request,) = service.asked("CreateSchedule")
    schedule, inner = request.schedule, plain(request.schedule.create_pipeline_job_request.pipeline_job)
    assert (schedule.display_name, schedule.cron, schedule.max_concurrent_run_count) == ("segpipe", MONDAYS, 1)
    assert not schedule.allow_queueing
    assert inner["serviceAccount"] == VERTEX["service_account"] and inner["labels"]["team"] == "vision"
    assert '"enableCache": true' not in json.dumps(inner["pipelineSpec"])
    parameters = inner["runtimeConfig"]["parameterValues"]
    assert parameters == {name: f"{ROOT}/newest/{name}" for name in ("window", "comparisons", "schema")}
    assert done.stdout.splitlines() == [
        "scheduled: segpipe, '0 3 * * 1' in UTC, next 2026-11-30 03:00 UTC, 4711",
        f"{MANAGED}/schedules/4711?project=pets-prod",
    ]
    assert [span.number for span in newest(desk).spans] == [2, 3]


def newest(desk: VertexDesk):
    pointer = json.loads(desk.path(f"{ROOT}/newest/inputs.json").read_text())
    return read_window(str(desk.path(f"{ROOT}/{pointer['window']}")))


def test_an_upload_moves_what_the_next_runs_read(desk, service):
    desk.schedule("--cron", MONDAYS)
    desk.ingest(4)
    assert f"read the newest spans in {ROOT}" in desk.schedule("--upload").stdout
    assert [span.number for span in newest(desk).spans] == [4]
    assert len(service.schedules) == 1


def test_a_schedule_is_listed_paused_resumed_and_deleted(desk, service):
    assert desk.schedule("--list").stdout == "no schedule of segpipe\n"
    desk.schedule("--cron", MONDAYS)
    service.schedules["another"] = types.Schedule(name=f"{PARENT}/schedules/1", display_name="another")
    steps = [
        ("--pause", "paused: segpipe, '0 3 * * 1' in UTC, 4711"),
        ("--list", "paused: segpipe, '0 3 * * 1' in UTC, 4711"),
        ("--pause", "paused: segpipe, '0 3 * * 1' in UTC, 4711"),
        ("--resume", "resumed: segpipe, '0 3 * * 1' in UTC, 4711"),
        ("--list", "active: segpipe, '0 3 * * 1' in UTC, next 2026-11-30 03:00 UTC, 4711"),
        ("--delete", "deleted: segpipe, '0 3 * * 1' in UTC, 4711"),
    ]
    for option, told in steps:
        assert desk.schedule(option).stdout.splitlines()[0] == told
    assert list(service.schedules) == ["another"]
    asked = [method for method, _ in service.calls if method in ("PauseSchedule", "ResumeSchedule", "DeleteSchedule")]
    assert asked == ["PauseSchedule", "ResumeSchedule", "DeleteSchedule"]


@pytest.mark.parametrize("method, option", [("PauseSchedule", "--pause"), ("DeleteSchedule", "--delete")])
def test_a_change_whose_answer_was_lost_is_not_made_twice(desk, service, method, option):
    desk.schedule("--cron", MONDAYS)
    service.failures[method] = [Failure(503, after=True)]
    desk.schedule(option)
    assert len(service.asked(method)) == 1


def test_a_schedule_whose_answer_was_lost_is_not_made_twice(desk, service):
    service.failures["CreateSchedule"] = [Failure(500, after=True)]
    assert "4711" in desk.schedule("--cron", MONDAYS).stdout
    assert len(service.schedules) == 1


def test_an_account_that_may_not_schedule_is_told(desk, service):
    service.failures["CreateSchedule"] = [Failure(403, "denied")]
    assert "refuses this account (403: denied)" in desk.schedule("--cron", MONDAYS, status=1).stderr
    assert service.tried.count("CreateSchedule") == 1


def test_a_second_schedule_of_the_pipeline_is_wrong_usage(desk, service):
    desk.schedule("--cron", MONDAYS)
    told = desk.schedule("--cron", "0 4 * * 1", status=2).stderr
    assert "segpipe has the schedule 4711 already; --delete it first" in told
    assert len(service.schedules) == 1


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["--pause"], "Vertex AI has no schedule of segpipe; make one with --cron"),
        (["--cron", "every monday"], "--cron 'every monday': is no cron expression"),
        (["--cron", "@weekly"], "services take five fields only"),
        ([], "give one of --cron 'EXPRESSION'"),
        (["--pause", "--delete"], "give one of --cron 'EXPRESSION'"),
        (["--once"], "--once: means nothing for --engine vertex; drop it"),
        (["--cron", MONDAYS, "--images", "photos"], "--images: means nothing for --engine vertex"),
        (["--list", "--window", "2"], "--window: means nothing with --list; drop it"),
        (["--engine", "local", "--pause"], "--pause: means nothing for --engine local"),
    ],
)
def test_what_a_schedule_cannot_be_asked_is_wrong_usage(desk, service, arguments, told):
    assert told in desk.schedule(*arguments, status=2).stderr
    assert service.schedules == {}
