"""Kubeflow Pipelines' API, v2beta1, on loopback, for Kubeflow's own client: what segpipe calls of it, and nothing else.

What a call holds is parsed with the models of Kubeflow's client: a field, a method or a value that they do not know is
refused, and the pipeline is parsed as kfp's own specification.

What it takes for granted of the service: ids are given by it, names may repeat, lists come in pages.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace

import kfp_server_api
from api_server import Answer, Request, Service, Strange, answering
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

_ID = r"[^/:]+"
_METHODS = (
    ("GET", "/apis/v2beta1/healthz", "get_healthz", set()),
    ("GET", "/apis/v2beta1/experiments", "list_experiments", {"filter", "namespace", "page_token", "page_size"}),
    ("POST", "/apis/v2beta1/experiments", "create_experiment", set()),
    ("POST", "/apis/v2beta1/runs", "create_run", {"experiment_id"}),
    ("GET", "/apis/v2beta1/runs", "list_runs", {"filter", "namespace", "experiment_id", "page_token", "page_size"}),
    ("GET", rf"/apis/v2beta1/runs/(?P<name>{_ID})", "get_run", set()),
    ("POST", "/apis/v2beta1/recurringruns", "create_recurring_run", set()),
    (
        "GET",
        "/apis/v2beta1/recurringruns",
        "list_recurring_runs",
        {"filter", "namespace", "experiment_id", "page_token", "page_size"},
    ),
    ("POST", rf"/apis/v2beta1/recurringruns/(?P<name>{_ID}):disable", "disable_recurring_run", set()),
    ("POST", rf"/apis/v2beta1/recurringruns/(?P<name>{_ID}):enable", "enable_recurring_run", set()),
    ("DELETE", rf"/apis/v2beta1/recurringruns/(?P<name>{_ID})", "delete_recurring_run", set()),
)
_BODIES = {
    "create_experiment": "V2beta1Experiment",
    "create_run": "V2beta1Run",
    "create_recurring_run": "V2beta1RecurringRun",
}


@dataclass
class KubeflowService(Service):
    """What the API holds.

    Attributes:
      multi_user: whether it has several users.
      experiments, runs, schedules: by id.
      course: state and task details of the run, each time that it is asked for, up to the last.
      bodies: of each call.
    """

    multi_user: bool = False
    experiments: dict = field(default_factory=dict)
    runs: dict = field(default_factory=dict)
    schedules: dict = field(default_factory=dict)
    course: list[tuple[str, list]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def answer(self, request: Request) -> Answer:
        self.headers.append(dict(request.headers))
        self.bodies.append(request.body)
        for verb, pattern, method, allowed in _METHODS:
            match = re.fullmatch(pattern, request.path)
            if verb == request.method and match:
                self.tried.append(method)
                unknown = {name for name, value in request.query.items() if value} - allowed - {"sort_by"}
                assert not unknown, f"{method} has no parameter {unknown}"
                return self._call(method, match.groupdict(), request)
        raise Strange("no such method")

    def _call(self, method: str, names: dict[str, str], request: Request) -> Answer:
        given = request.query | names
        if method in _BODIES:
            given = parsed(json.loads(request.body), _BODIES[method])
        return self.carried_out(method, given, getattr(self, f"_{method}"), _failed)

    def _get_healthz(self, _) -> Answer:
        return _model(kfp_server_api.V2beta1GetHealthzResponse(multi_user=self.multi_user))

    def _create_experiment(self, experiment) -> Answer:
        assert bool(experiment.namespace) == self.multi_user, "a namespace is for several users"
        experiment.experiment_id = f"experiment-{len(self.experiments) + 1}"
        self.experiments[experiment.experiment_id] = experiment
        return _model(experiment)

    def _list_experiments(self, query) -> Answer:
        return _page(self.experiments, query, kfp_server_api.V2beta1ListExperimentsResponse, "experiments")

    def _create_run(self, run) -> Answer:
        self._check(run)
        run.run_id, run.state = f"run-{len(self.runs) + 1}", "PENDING"
        self.runs[run.run_id] = run
        return _model(run)

    def _get_run(self, query) -> Answer:
        if self.course and query["name"] in self.runs:
            state, tasks = self.course.pop(0)
            self.runs[query["name"]].state = state
            self.runs[query["name"]].run_details = kfp_server_api.V2beta1RunDetails(task_details=tasks)
        return _found(self.runs, query["name"])

    def _list_runs(self, query) -> Answer:
        return _page(self.runs, query, kfp_server_api.V2beta1ListRunsResponse, "runs")

    def _create_recurring_run(self, schedule) -> Answer:
        self._check(schedule)
        fields = schedule.trigger.cron_schedule.cron.split()
        assert len(fields) == 6 and 1 <= int(schedule.max_concurrency) <= 10, "the service insists on both"
        schedule.recurring_run_id = f"recurring-{len(self.schedules) + 1}"
        schedule.status = {"ENABLE": "ENABLED", "DISABLE": "DISABLED"}[schedule.mode]
        self.schedules[schedule.recurring_run_id] = schedule
        return _model(schedule)

    def _list_recurring_runs(self, query) -> Answer:
        return _page(self.schedules, query, kfp_server_api.V2beta1ListRecurringRunsResponse, "recurringRuns")

    def _disable_recurring_run(self, query) -> Answer:
        self.schedules[query["name"]].status = "DISABLED"
        return Answer()

    def _enable_recurring_run(self, query) -> Answer:
        self.schedules[query["name"]].status = "ENABLED"
        return Answer()

    def _delete_recurring_run(self, query) -> Answer:
        if query["name"] not in self.schedules:
            return _failed(404, f"{query['name']} not found")
        del self.schedules[query["name"]]
        return Answer()

    def _check(self, run) -> None:
        """What the service says no to, beside fields that it does not know."""
        assert run.experiment_id in self.experiments, f"no experiment {run.experiment_id}"
        given = run.pipeline_spec
        spec = json_format.ParseDict(given["pipeline_spec"], pipeline_spec_pb2.PipelineSpec())
        json_format.ParseDict(given["platform_spec"], pipeline_spec_pb2.PlatformSpec())
        declared = spec.root.input_definitions.parameters
        strange = run.runtime_config.parameters.keys() - set(declared)
        assert not strange, f"the pipeline has no parameter {strange}"


def parsed(content: dict, name: str):
    """Plain data as a model of Kubeflow's client, which itself would leave out what it does not know.

    Raises:
      AssertionError: at a field or value that the model does not know.
    """
    _check_fields(content, name)
    response = SimpleNamespace(data=json.dumps(content))
    return kfp_server_api.ApiClient().deserialize(response, name)


def _check_fields(content, name: str) -> None:
    nested = re.fullmatch(r"list\[(.+)\]|dict\(str, (.+)\)", name)
    if nested:
        for inner in content if nested[1] else content.values():
            _check_fields(inner, nested[1] or nested[2])
        return
    model = getattr(kfp_server_api, name, None)
    if model is None:
        return
    if not model.openapi_types:
        assert content in model.allowable_values, f"{content!r} is no {name}"
        return
    types = {model.attribute_map[attribute]: kind for attribute, kind in model.openapi_types.items()}
    assert content.keys() <= types.keys(), f"{name} has no {sorted(content.keys() - types.keys())}"
    for key, value in content.items():
        if value is not None:
            _check_fields(value, types[key])


def _page(resources: dict, query: dict, response: type, kind: str) -> Answer:
    """One resource a page, those that the filter names."""
    (predicate,) = json.loads(query["filter"])["predicates"]
    assert predicate["operation"] in (1, "EQUALS") and predicate["key"] == "display_name", "no filter of this service"
    found = [resource for resource in resources.values() if resource.display_name == predicate["stringValue"]]
    start = int(query.get("page_token") or 0)
    following = str(start + 1) if start + 1 < len(found) else None
    body = kfp_server_api.ApiClient().sanitize_for_serialization({kind: found[start : start + 1]})
    page = {kind: body[kind]} | ({"next_page_token": following} if following else {})
    assert page.keys() <= set(response.attribute_map.values()), f"{response} has no {kind}"
    return Answer(body=page)


def _found(resources: dict, name: str) -> Answer:
    return _model(resources[name]) if name in resources else _failed(404, f"{name} not found")


def _model(model) -> Answer:
    return Answer(body=kfp_server_api.ApiClient().sanitize_for_serialization(model))


def _failed(status: int, message: str) -> Answer:
    return Answer(status, {"error": message, "message": message, "code": 13})


@contextmanager
def kubeflow_service(**options) -> Iterator[KubeflowService]:
    """Serves it until the block ends; then nothing must have been strange."""
    service = KubeflowService(**options)
    with answering(service.answer, service.strange) as service.url:
        yield service
    assert service.strange == []
