"""Kubeflow's own client submits and schedules the pipeline on a service that takes nothing it does not know."""

import json
import re

import pytest
import yaml
from api_server import Failure
from desk import Desk
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from kfp_server_api import V2beta1PipelineTaskDetail, V2beta1RecurringRun
from kubeflow_service import KubeflowService, kubeflow_service, parsed

from pipeline import remote_calls, remote_runs
from pipeline.config import load_config
from pipeline.kubeflow_pipeline import compile_to

MONDAYS = "0 3 * * 1"
SECRET = "hunter2-is-no-token"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(remote_calls, "PAUSES", (0.0, 0.0, 0.0, 0.0))
    monkeypatch.setattr(remote_runs, "POLL_SECONDS", 0.0)


@pytest.fixture
def service():
    with kubeflow_service() as service:
        yield service


@pytest.fixture
def desk(tmp_path, service):
    return Desk(tmp_path, "kubeflow", section(service))


def section(service: KubeflowService) -> dict:
    return {"image": "registry.test/own:7", "endpoint": service.url, "service_account": "runner"}


def test_a_run_is_submitted_with_what_was_compiled(desk, service):
    done = desk.submit("--span", "7", "--window", "3")
    (run,) = service.asked("create_run")
    assert done.stdout == f"submitted run-1\n{service.url}/#/runs/details/run-1\n"
    assert re.fullmatch(r"segpipe-\d{14}-[0-9a-f]{6}", run.display_name)
    assert run.runtime_config.parameters == {"span": 7, "window": 3}
    assert run.service_account == "runner"
    assert service.experiments[run.experiment_id].display_name == "segpipe"
    compile_to(load_config(str(desk.config)), str(desk.folder / "own-pipeline.yaml"))
    documents = yaml.safe_load_all((desk.folder / "own-pipeline.yaml").read_text())
    for kind, document in zip((pipeline_spec_pb2.PipelineSpec, pipeline_spec_pb2.PlatformSpec), documents, strict=True):
        sent = run.pipeline_spec["pipeline_spec" if kind is pipeline_spec_pb2.PipelineSpec else "platform_spec"]
        assert json_format.ParseDict(sent, kind()) == json_format.ParseDict(document, kind())


def test_a_second_run_is_of_the_same_experiment_and_the_newest_span_where_none_is_named(desk, service):
    desk.submit()
    told = json.loads(desk.submit("--json").stdout)
    assert told == {"engine": "kubeflow", "name": "run-2", "address": f"{service.url}/#/runs/details/run-2"}
    assert [run.runtime_config.parameters for run in service.asked("create_run")] == [{"span": 0, "window": 0}] * 2
    assert len(service.experiments) == 1


def test_the_token_is_sent_as_one_and_is_nowhere_else(desk, service, monkeypatch, caplog):
    monkeypatch.setenv("KUBEFLOW_TOKEN", SECRET)
    desk.section["token"] = "${KUBEFLOW_TOKEN}"
    service.failures["create_run"] = [Failure(503)]
    done = desk.submit()
    assert {headers.get("authorization") for headers in service.headers} == {f"Bearer {SECRET}"}
    assert not [body for body in service.bodies if SECRET.encode() in body]
    assert SECRET not in done.output + caplog.text


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_passes_is_tried_again(desk, service, status):
    service.failures["create_run"] = [Failure(status), Failure(status)]
    desk.submit()
    assert service.tried.count("create_run") == 3
    assert len(service.runs) == 1


def test_a_run_whose_answer_was_lost_is_not_submitted_twice(desk, service):
    service.failures["create_run"] = [Failure(500, after=True)]
    assert desk.submit().stdout.startswith("submitted run-1\n")
    assert len(service.runs) == 1


@pytest.mark.parametrize(
    "method, failure, tries, status, told",
    [
        ("create_run", Failure(403, "may not"), 1, 1, "Kubeflow Pipelines refuses this account (403: may not); let"),
        ("get_healthz", Failure(403, "who are you"), 1, 1, "refuses this account (403: who are you); let the account"),
        ("create_run", Failure(429, "slowly"), 5, 1, "takes no more now (429: slowly), tried 5 times"),
        ("create_run", Failure(500, "oh"), 5, 1, "is in trouble (500: oh), tried 5 times; run the same command again"),
        ("create_run", Failure(400, "bad"), 1, 2, "does not take this (400: bad); mend what it names"),
    ],
)
def test_what_stays_is_one_sentence(desk, service, method, failure, tries, status, told):
    service.failures[method] = [failure] * 9
    done = desk.submit(status=status)
    assert told in done.stderr
    assert (service.tried.count(method), done.stdout, service.runs) == (tries, "", {})


def test_a_service_that_is_not_there_is_one_sentence(desk):
    desk.section["endpoint"] = "http://127.0.0.1:9"
    told = "http://127.0.0.1:9: Kubeflow Pipelines cannot be reached (NewConnectionError), tried 5 times; check"
    assert told in desk.submit(status=1).stderr


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"endpoint": None}, "kubeflow.endpoint: is missing; say at which address"),
        ({"image": "registry.example/segpipe:0.1.0"}, "kubeflow.image: still a placeholder"),
        ({"endpoint": "https://me:word@kubeflow.test"}, "kubeflow.endpoint: "),
        ({"token": SECRET}, "kubeflow.token: holds a secret; write ${NAME}"),
        ({"token": "${NOT_SET}"}, "kubeflow.token: the environment variable NOT_SET is not set"),
        ({"token": "${HOME}", "endpoint": "http://kubeflow.test"}, "kubeflow.token: would be sent unencrypted"),
    ],
)
def test_what_cannot_be_submitted_is_wrong_usage(desk, service, changes, told):
    desk.section |= changes
    done = desk.submit(status=2)
    assert told in done.stderr
    assert SECRET not in done.output and "word" not in done.output
    assert service.tried == []


def test_several_users_need_a_namespace(tmp_path):
    with kubeflow_service(multi_user=True) as service:
        desk = Desk(tmp_path, "kubeflow", section(service))
        assert "kubeflow.namespace: is missing; this Kubeflow has several users" in desk.submit(status=2).stderr
        desk.section["namespace"] = "vision"
        desk.submit()
        desk.schedule("--cron", MONDAYS)
        desk.schedule("--pause")
        assert [experiment.namespace for experiment in service.experiments.values()] == ["vision"]


def step(name: str, state: str) -> V2beta1PipelineTaskDetail:
    return V2beta1PipelineTaskDetail(display_name=name, state=state)


def test_a_run_is_followed_to_its_end(desk, service):
    first, last = [step("root", "RUNNING"), step("plan-driver", "SUCCEEDED"), step("plan", "SUCCEEDED")], "SUCCEEDED"
    service.course = [("PENDING", None), ("RUNNING", first), (last, [*first, step("verdict", "SUCCEEDED")])]
    service.failures["get_run"] = [Failure(503)]
    lines = desk.submit("--wait").stdout.splitlines()
    assert lines[2:] == [
        "plan succeeded",
        "verdict succeeded",
        "pushed, the model is live; the log of Verdict has its version",
    ]


@pytest.mark.parametrize(
    "steps, state, status, told",
    [
        (
            [
                *(step("atomicpusher", "SUCCEEDED"), step("verdict", "FAILED"), step("report", "SUCCEEDED")),
                *(step(around, "FAILED") for around in ("root", "exit-handler-1", "Run", "executor")),
            ],
            "FAILED",
            3,
            "refused: a gate refused, nothing is pushed; the log of Verdict has the reasons",
        ),
        ([step("anomalygate", "FAILED")], "FAILED", 1, "failed: anomalygate refused, or broke; the log says why"),
        ([step("root", "FAILED"), step("trainer", "FAILED")], "FAILED", 1, "failed: trainer failed; the log says why"),
        ([], "CANCELED", 1, "failed: the run failed; the log says why"),
    ],
)
def test_a_run_that_pushes_nothing_ends_the_command_as_it_ended(desk, service, steps, state, status, told):
    service.course = [(state, steps)]
    assert told in desk.submit("--wait", status=status).stderr


def test_a_schedule_runs_one_at_a_time_on_the_newest_spans(desk, service):
    done = desk.schedule("--cron", MONDAYS, "--window", "3")
    (schedule,) = service.asked("create_recurring_run")
    assert (schedule.display_name, schedule.trigger.cron_schedule.cron) == ("segpipe", "0 0 3 * * 1")
    assert (int(schedule.max_concurrency), schedule.no_catchup, schedule.mode) == (1, True, "ENABLE")
    assert schedule.runtime_config.parameters == {"span": 0, "window": 3}
    assert schedule.service_account == "runner"
    assert "pipeline_spec" in schedule.pipeline_spec
    assert done.stdout.splitlines() == [
        "scheduled: segpipe, '0 3 * * 1' in UTC, recurring-1",
        f"{service.url}/#/recurringrun/details/recurring-1",
    ]


def test_a_schedule_is_listed_paused_resumed_and_deleted(desk, service):
    assert desk.schedule("--list").stdout == "no schedule of segpipe\n"
    desk.schedule("--cron", MONDAYS)
    service.schedules["other"] = V2beta1RecurringRun(recurring_run_id="other", display_name="other")
    # Names may repeat, and lists come in pages.
    service.schedules["twin"] = V2beta1RecurringRun(recurring_run_id="twin", display_name="segpipe", status="ENABLED")
    steps = [
        ("--pause", "paused", "DISABLED"),
        ("--list", "paused", "DISABLED"),
        ("--resume", "resumed", "ENABLED"),
        ("--list", "active", "ENABLED"),
    ]
    for option, told, status in steps:
        lines = desk.schedule(option).stdout.splitlines()
        assert lines[0] == f"{told}: segpipe, '0 3 * * 1' in UTC, recurring-1"
        assert lines[2].startswith(f"{told}: segpipe, '' in UTC, twin")
        assert [service.schedules[name].status for name in ("recurring-1", "twin")] == [status] * 2
    assert desk.schedule("--delete").stdout.startswith("deleted: segpipe")
    assert list(service.schedules) == ["other"]


def test_a_schedule_whose_answer_was_lost_is_neither_made_nor_deleted_twice(desk, service):
    service.failures["create_recurring_run"] = [Failure(503, after=True)]
    desk.schedule("--cron", MONDAYS)
    assert len(service.schedules) == 1
    service.failures["delete_recurring_run"] = [Failure(503, after=True)]
    desk.schedule("--delete")
    assert service.schedules == {}


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["--pause"], "Kubeflow Pipelines has no schedule of segpipe; make one with --cron"),
        (["--cron", "0 3 * * 7"], "Kubeflow counts weekdays from 0, which is Sunday, to 6; write 0 for 7"),
        (["--cron", "61 3 * * 1"], "--cron '61 3 * * 1': is no cron expression"),
        (["--upload"], "--upload: kubeflow reads the spans where they are; drop it"),
        (["--webhook", "https://hook.test"], "--webhook: means nothing for --engine kubeflow; drop it"),
    ],
)
def test_what_a_schedule_cannot_be_asked_is_wrong_usage(desk, service, arguments, told):
    assert told in desk.schedule(*arguments, status=2).stderr
    assert service.schedules == {}


def test_a_second_schedule_of_the_pipeline_is_wrong_usage(desk, service):
    desk.schedule("--cron", MONDAYS)
    assert "segpipe has the schedule recurring-1 already" in desk.schedule("--cron", MONDAYS, status=2).stderr
    assert len(service.schedules) == 1


def test_the_service_refuses_a_field_that_it_does_not_know():
    with pytest.raises(AssertionError, match="V2beta1CronSchedule has no"):
        parsed({"trigger": {"cron_schedule": {"crom": "0 0 3 * * 1"}}}, "V2beta1RecurringRun")
    with pytest.raises(AssertionError, match="'ON' is no RecurringRunMode"):
        parsed({"mode": "ON"}, "V2beta1RecurringRun")
