"""Vertex AI and Cloud Storage on loopback, for Google's own clients: what segpipe calls of them, and nothing else.

What a call holds is parsed with the message types of Google's client, so that a field which the service does not know
is refused, and so is a method, a parameter that the pipeline does not declare, or a missing one.

What it takes for granted of the service: a schedule is active once it is made and its page says when it runs next; a
deleted one is gone at once; a job of a name that there is already is refused with 409.
"""

import base64
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from urllib.parse import unquote

import google_crc32c
from api_server import Answer, Request, Service, Strange, answering
from google.cloud.aiplatform_v1 import types
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2, json_format
from google.rpc import status_pb2
from kfp.pipeline_spec import pipeline_spec_pb2
from vertex_endpoints import Endpoints, Operations, raw

from pipeline.vertex_settings import VertexSettings

PARENT = "projects/pets-prod/locations/europe-west4"
_FOLDER = ".folder"

_METHODS = (
    ("POST", rf"/v1/(?P<parent>{PARENT})/pipelineJobs", "CreatePipelineJob"),
    ("GET", rf"/v1/(?P<name>{PARENT}/pipelineJobs/[^/:]+)", "GetPipelineJob"),
    ("POST", rf"/v1/(?P<parent>{PARENT})/schedules", "CreateSchedule"),
    ("GET", rf"/v1/(?P<parent>{PARENT})/schedules", "ListSchedules"),
    ("GET", rf"/v1/(?P<name>{PARENT}/schedules/[^/:]+)", "GetSchedule"),
    ("DELETE", rf"/v1/(?P<name>{PARENT}/schedules/[^/:]+)", "DeleteSchedule"),
    ("POST", rf"/v1/(?P<name>{PARENT}/schedules/[^/:]+):pause", "PauseSchedule"),
    ("POST", rf"/v1/(?P<name>{PARENT}/schedules/[^/:]+):resume", "ResumeSchedule"),
    ("POST", rf"/v1/(?P<parent>{PARENT})/customJobs", "CreateCustomJob"),
    ("GET", rf"/v1/(?P<parent>{PARENT})/customJobs", "ListCustomJobs"),
    ("GET", rf"/v1/(?P<name>{PARENT}/customJobs/[^/:]+)", "GetCustomJob"),
    ("POST", rf"/v1/(?P<name>{PARENT}/customJobs/[^/:]+):cancel", "CancelCustomJob"),
    ("POST", rf"/v1/(?P<parent>{PARENT})/models:upload", "UploadModel"),
    ("GET", rf"/v1/(?P<name>{PARENT}/models/[^/:]+):listVersions", "ListModelVersions"),
    ("GET", rf"/v1/(?P<name>{PARENT}/models/[^/:]+)", "GetModel"),
    ("POST", rf"/v1/(?P<parent>{PARENT})/endpoints", "CreateEndpoint"),
    ("GET", rf"/v1/(?P<name>{PARENT}/endpoints/[^/:]+)", "GetEndpoint"),
    ("POST", rf"/v1/(?P<endpoint>{PARENT}/endpoints/[^/:]+):deployModel", "DeployModel"),
    ("POST", rf"/v1/(?P<endpoint>{PARENT}/endpoints/[^/:]+):undeployModel", "UndeployModel"),
    # Google's definition of the service has operations at both addresses, and its client takes the first.
    ("GET", rf"/(?:ui|v1)/(?P<name>{PARENT}/(?:models|endpoints)/[^/:]+/operations/[^/:]+)", "GetOperation"),
    ("GET", rf"/(?:ui|v1)/(?P<name>{PARENT}/endpoints/[^/:]+)/operations", "ListOperations"),
)
_BODIES = {
    "CreatePipelineJob": "pipelineJob",
    "CreateSchedule": "schedule",
    "CreateCustomJob": "customJob",
    "CreateEndpoint": "endpoint",
}


@dataclass
class VertexService(Service):
    """What the services hold; in `failures`, `storage` stands for each call to Cloud Storage.

    Attributes:
      buckets: folder that holds a folder per bucket.
      jobs, schedules: by resource name.
      trainings: custom jobs by resource name.
      train: starts a custom job; returns what tells its exit status, or None while it runs.
      models: versions by resource name of the model.
      operations: what takes a while.
      endpoints: what serves models.
      course: what the job is, each time that it is asked for, up to the last.
    """

    buckets: Path = Path()
    jobs: dict[str, types.PipelineJob] = field(default_factory=dict)
    schedules: dict[str, types.Schedule] = field(default_factory=dict)
    trainings: dict[str, types.CustomJob] = field(default_factory=dict)
    train: Callable[[types.CustomJob], Callable[[], int | None]] = lambda job: lambda: 0
    models: dict[str, list[types.Model]] = field(default_factory=dict)
    operations: Operations = field(default_factory=Operations)
    course: list[types.PipelineJob] = field(default_factory=list)
    _uploads: dict[str, Path] = field(default_factory=dict)
    _running: dict[str, Callable[[], int | None]] = field(default_factory=dict)

    def __post_init__(self):
        self.endpoints = Endpoints(self.operations, self.models)

    def answer(self, request: Request) -> Answer:
        if "/storage/v1/b/" in request.path or request.path.startswith("/session/"):
            return self._storage(request)
        for verb, pattern, method in _METHODS:
            match = re.fullmatch(pattern, unquote(request.path))
            if verb == request.method and match:
                self.headers.append(dict(request.headers))
                self.tried.append(method)
                return self._call(method, match.groupdict(), request)
        raise Strange("no such method")

    def _call(self, method: str, names: dict[str, str], request: Request) -> Answer:
        query = {name: value for name, value in request.query.items() if name != "$alt"}
        kind = f"{method}Request"
        message = getattr(types, kind)() if hasattr(types, kind) else getattr(operations_pb2, kind)()
        content = names | query
        body = json_format.json.loads(request.body) if request.body else {}
        content |= {_BODIES[method]: body} if method in _BODIES else body
        json_format.ParseDict(content, raw(message), ignore_unknown_fields=False)
        work = getattr(self, f"_{re.sub(r'(?<!^)(?=[A-Z])', '_', method).lower()}")
        return self.carried_out(method, message, work, _failed)

    def _create_pipeline_job(self, request: types.CreatePipelineJobRequest) -> Answer:
        name = f"{request.parent}/pipelineJobs/{request.pipeline_job_id}"
        if name in self.jobs:
            return _failed(409, f"{name} exists")
        assert re.fullmatch(r"[a-z][-a-z0-9]{0,127}", request.pipeline_job_id)
        _check_job(request.pipeline_job)
        self.jobs[name] = types.PipelineJob(request.pipeline_job)
        self.jobs[name].name = name
        self.jobs[name].state = types.PipelineState.PIPELINE_STATE_PENDING
        return _message(self.jobs[name])

    def _get_pipeline_job(self, request: types.GetPipelineJobRequest) -> Answer:
        if self.course and request.name in self.jobs:
            now = self.course.pop(0)
            self.jobs[request.name].state, self.jobs[request.name].job_detail = now.state, now.job_detail
        return _found(self.jobs, request.name)

    def _create_schedule(self, request: types.CreateScheduleRequest) -> Answer:
        schedule = request.schedule
        inner = schedule.create_pipeline_job_request
        assert inner.parent == request.parent and not inner.pipeline_job_id
        _check_job(inner.pipeline_job)
        assert schedule.cron and schedule.max_concurrent_run_count >= 1, "the service insists on both"
        name = f"{request.parent}/schedules/{len(self.schedules) + 4711}"
        self.schedules[name] = types.Schedule(schedule)
        self.schedules[name].name, self.schedules[name].state = name, types.Schedule.State.ACTIVE
        self.schedules[name].next_run_time = "2026-11-30T03:00:00Z"
        return _message(self.schedules[name])

    def _get_schedule(self, request: types.GetScheduleRequest) -> Answer:
        return _found(self.schedules, request.name)

    def _list_schedules(self, request: types.ListSchedulesRequest) -> Answer:
        wanted = re.fullmatch(r'display_name="([^"]+)"', request.filter)
        assert wanted, f"no filter of this service: {request.filter}"
        found = [schedule for schedule in self.schedules.values() if schedule.display_name == wanted[1]]
        # Two pages, where there are two.
        start = int(request.page_token or 0)
        following = str(start + 1) if start + 1 < len(found) else ""
        page = types.ListSchedulesResponse(schedules=found[start : start + 1], next_page_token=following)
        return _message(page)

    def _pause_schedule(self, request: types.PauseScheduleRequest) -> Answer:
        return self._move(request.name, types.Schedule.State.ACTIVE, types.Schedule.State.PAUSED)

    def _resume_schedule(self, request: types.ResumeScheduleRequest) -> Answer:
        return self._move(request.name, types.Schedule.State.PAUSED, types.Schedule.State.ACTIVE)

    def _move(self, name: str, before: types.Schedule.State, after: types.Schedule.State) -> Answer:
        if self.schedules[name].state != before:
            return _failed(400, f"{name} is {self.schedules[name].state.name}")
        self.schedules[name].state = after
        return Answer()

    def _delete_schedule(self, request: types.DeleteScheduleRequest) -> Answer:
        del self.schedules[request.name]
        return _done(empty_pb2.Empty())

    def _create_custom_job(self, request: types.CreateCustomJobRequest) -> Answer:
        (workers,) = request.custom_job.job_spec.worker_pool_specs
        assert workers.machine_spec.machine_type and workers.container_spec.image_uri and workers.replica_count == 1
        name = f"{request.parent}/customJobs/{len(self.trainings) + 1}"
        self.trainings[name] = types.CustomJob(request.custom_job)
        self.trainings[name].name = name
        self.trainings[name].state = types.JobState.JOB_STATE_RUNNING
        self._running[name] = self.train(self.trainings[name])
        return _message(self.trainings[name])

    def _get_custom_job(self, request: types.GetCustomJobRequest) -> Answer:
        job = self.trainings.get(request.name)
        if job is not None and job.state == types.JobState.JOB_STATE_RUNNING:
            status = self._running[request.name]()
            states = {None: types.JobState.JOB_STATE_RUNNING, 0: types.JobState.JOB_STATE_SUCCEEDED}
            job.state = states.get(status, types.JobState.JOB_STATE_FAILED)
            if status:
                job.error = status_pb2.Status(code=9, message=f"non-zero status of {status}")
        return _found(self.trainings, request.name)

    def _list_custom_jobs(self, request: types.ListCustomJobsRequest) -> Answer:
        wanted = re.fullmatch(r'display_name="([^"]+)"', request.filter)[1]
        found = [job for job in self.trainings.values() if job.display_name == wanted]
        return _message(types.ListCustomJobsResponse(custom_jobs=found))

    def _cancel_custom_job(self, request: types.CancelCustomJobRequest) -> Answer:
        self.trainings[request.name].state = types.JobState.JOB_STATE_CANCELLED
        return Answer()

    def _upload_model(self, request: types.UploadModelRequest) -> Answer:
        model = request.model
        assert bool(request.parent_model) != bool(request.model_id), "a version has a parent, a model an id"
        name = request.parent_model or f"{request.parent}/models/{request.model_id}"
        assert (name in self.models) == bool(request.parent_model), f"{name} is there, or is not"
        assert model.display_name and model.container_spec.image_uri
        folder = self.buckets / model.artifact_uri.removeprefix("gs://")
        assert (folder / "saved_model.pb").is_file(), f"{model.artifact_uri} holds no model"

        def finish():
            versions = self.models.setdefault(name, [])
            versions.append(types.Model.deserialize(raw(model).SerializeToString()))
            versions[-1].name, versions[-1].version_id = name, str(len(versions))
            versions[-1].supported_deployment_resources_types = [
                types.Model.DeploymentResourcesType.DEDICATED_RESOURCES
            ]
            response = types.UploadModelResponse(model=name, model_version_id=versions[-1].version_id)
            return raw(response)

        return _operation(self.operations.begin(name, finish))

    def _list_model_versions(self, request: types.ListModelVersionsRequest) -> Answer:
        if request.name not in self.models:
            return _failed(404, f"{request.name} is not found")
        label, value = re.fullmatch(r'labels\.(\w+)="([^"]+)"', request.filter).groups()
        found = [model for model in self.models[request.name] if model.labels.get(label) == value]
        return _message(types.ListModelVersionsResponse(models=found))

    def _get_model(self, request: types.GetModelRequest) -> Answer:
        name, _, version = request.name.partition("@")
        return _message(self.models[name][int(version or 1) - 1])

    def _create_endpoint(self, request: types.CreateEndpointRequest) -> Answer:
        name = f"{request.parent}/endpoints/{request.endpoint_id}"
        if name in self.endpoints.held or self.operations.is_running(name):
            return _failed(409, f"{name} exists")
        return _operation(self.endpoints.create(request))

    def _get_endpoint(self, request: types.GetEndpointRequest) -> Answer:
        return _found(self.endpoints.held, request.name)

    def _deploy_model(self, request: types.DeployModelRequest) -> Answer:
        return _operation(self.endpoints.deploy(request))

    def _undeploy_model(self, request: types.UndeployModelRequest) -> Answer:
        return _operation(self.endpoints.undeploy(request))

    def _get_operation(self, request: operations_pb2.GetOperationRequest) -> Answer:
        return _operation(self.operations.look(request.name))

    def _list_operations(self, request: operations_pb2.ListOperationsRequest) -> Answer:
        # A page for each, the newest first.
        found = self.operations.of(request.name)[::-1]
        if request.name not in self.endpoints.held:
            return _failed(404, f"{request.name} is not found")
        start = int(request.page_token or 0)
        following = str(start + 1) if start + 1 < len(found) else ""
        page = operations_pb2.ListOperationsResponse(operations=found[start : start + 1], next_page_token=following)
        return _message(page)

    def _storage(self, request: Request) -> Answer:
        """Cloud Storage: whether a bucket or an object is there, a list, reading one, and a resumable upload."""
        failure = self.next_failure("storage")
        if failure is not None:
            return _failed(failure.status, failure.message)
        if request.path.startswith("/session/"):
            return self._receive(self._uploads[request.path], request)
        match = re.fullmatch(r"(/upload|/download)?/storage/v1/b/([^/]+)(?:/o(?:/([^/]+))?)?", request.path)
        assert match, "no such method"
        kind, bucket, key = match[1], match[2], unquote(match[3] or "")
        if not (self.buckets / bucket).is_dir():
            return _failed(404, f"The specified bucket {bucket} does not exist.")
        if kind == "/upload" and request.method == "POST" and request.query["uploadType"] == "resumable":
            session = f"/session/{len(self._uploads)}"
            self._uploads[session] = self._file(bucket, json_format.json.loads(request.body)["name"])
            return Answer(headers={"Location": self.url + session})
        if kind == "/upload" and request.method == "POST" and request.query["uploadType"] == "multipart":
            return self._receive_at_once(bucket, request)
        assert request.method in ("GET", "DELETE"), f"no such method {request.method}"
        if not key and request.path.endswith("/o"):
            return self._list_objects(bucket, request.query)
        if not key:
            return Answer(body={"kind": "storage#bucket", "name": bucket, "id": bucket})
        path = self._file(bucket, key)
        if not path.is_file():
            return _failed(404, f"No such object: {bucket}/{key}")
        if request.query.get("ifGenerationMatch", _generation(path)) != _generation(path):
            return _failed(412, "conditionNotMet")
        if request.method == "DELETE":
            path.unlink()
            return Answer(204, b"")
        if request.query.get("alt") == "media":
            return _range(path.read_bytes(), request.headers.get("Range"))
        return Answer(body=_described(bucket, key, path))

    def _file(self, bucket: str, key: str) -> Path:
        """Where an object is; one whose name ends with a slash stands for a folder with nothing in it."""
        return self.buckets / bucket / (key + _FOLDER if key.endswith("/") else key)

    def _list_objects(self, bucket: str, query: dict[str, str]) -> Answer:
        """Two objects a page."""
        root = self.buckets / bucket
        keys = sorted(str(path.relative_to(root)).removesuffix(_FOLDER) for path in root.rglob("*") if path.is_file())
        keys = [key for key in keys if key.startswith(query.get("prefix", ""))]
        start = int(query.get("pageToken", 0))
        more = {"nextPageToken": str(start + 2)} if start + 2 < len(keys) else {}
        items = [_described(bucket, key, self._file(bucket, key)) for key in keys[start : start + 2]]
        return Answer(body={"kind": "storage#objects", "items": items} | more)

    def _receive_at_once(self, bucket: str, request: Request) -> Answer:
        """An upload in one request: a description and the content; made as if no other came at the same time."""
        boundary = re.search(r'boundary="?([^";]+)', request.headers["Content-Type"])[1].encode()
        description, content = (
            part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n") for part in request.body.split(b"--" + boundary)[1:3]
        )
        key = json_format.json.loads(description)["name"]
        path = self._file(bucket, key)
        there = _generation(path) if path.is_file() else "0"
        if request.query.get("ifGenerationMatch", there) != there:
            return _failed(412, "conditionNotMet")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return Answer(body=_described(bucket, key, path))

    def _receive(self, path: Path, request: Request) -> Answer:
        sent = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", request.headers["Content-Range"])
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".uploading")
        with open(part, "ab") as file:
            assert int(sent[1] or 0) == file.tell(), "the pieces of an upload follow each other"
            file.write(request.body)
            end = file.tell()
        if sent[3] == "*" or int(sent[3]) != end:
            return Answer(308, headers={"Range": f"bytes=0-{end - 1}"})
        os.replace(part, path)
        bucket, _, key = str(path.relative_to(self.buckets)).partition("/")
        return Answer(body=_described(bucket, key, path))


def _check_job(job: types.PipelineJob) -> None:
    """What the service says no to, beside fields that it does not know."""
    spec = json_format.ParseDict(
        json_format.MessageToDict(type(job).pb(job).pipeline_spec), pipeline_spec_pb2.PipelineSpec()
    )
    declared, given = spec.root.input_definitions.parameters, job.runtime_config.parameter_values
    assert set(declared) == set(given), f"parameters {sorted(declared)} are declared, {sorted(given)} given"
    assert job.runtime_config.gcs_output_directory.startswith("gs://")


def _found(resources: dict, name: str) -> Answer:
    return _message(resources[name]) if name in resources else _failed(404, f"{name} is not found")


def _message(message) -> Answer:
    return Answer(body=json_format.MessageToJson(raw(message), use_integers_for_enums=True).encode())


def _operation(operation: operations_pb2.Operation) -> Answer:
    return Answer(body=json_format.MessageToJson(operation).encode())


def _done(response) -> Answer:
    """An operation that has ended."""
    operation = operations_pb2.Operation(name=f"{PARENT}/operations/1", done=True)
    operation.response.Pack(response)
    return _operation(operation)


def _failed(status: int, message: str) -> Answer:
    words = HTTPStatus(status).phrase.upper().replace(" ", "_")
    return Answer(status, {"error": {"code": status, "message": message, "status": words}})


def _range(content: bytes, wanted: str | None) -> Answer:
    if wanted is None:
        return Answer(body=content)
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted)
    start, end = int(match[1]), min(int(match[2] or len(content)), len(content) - 1)
    if start >= len(content):
        return _failed(416, "out of range")
    piece = content[start : end + 1]
    return Answer(206, piece, {"Content-Range": f"bytes {start}-{end}/{len(content)}"})


def _generation(path: Path) -> str:
    return str(path.stat().st_mtime_ns)


def _described(bucket: str, key: str, path: Path) -> dict:
    content = path.read_bytes()
    md5, crc32c = hashlib.md5(content, usedforsecurity=False).digest(), google_crc32c.Checksum(content).digest()
    return {
        "kind": "storage#object",
        "name": key,
        "bucket": bucket,
        "generation": _generation(path),
        "size": str(path.stat().st_size),
        "md5Hash": base64.b64encode(md5).decode(),
        "crc32c": base64.b64encode(crc32c).decode(),
        "updated": "2026-11-25T12:00:00.000Z",
    }


@contextmanager
def vertex_service(buckets: Path) -> Iterator[VertexService]:
    """Serves both until the block ends; then nothing must have been strange."""
    service = VertexService(buckets=buckets)
    with answering(service.answer, service.strange) as service.url:
        yield service
    assert service.strange == []


def settings_of(service: VertexService, **sections: dict) -> VertexSettings:
    """The section `vertex` of a config for this service."""
    return VertexSettings(
        project="pets-prod",
        region="europe-west4",
        root="gs://pets-bucket/segpipe",
        image="registry/segpipe:1",
        endpoint=service.url,
        labels={"team": "vision"},
        service_account="runner@pets-prod.iam.gserviceaccount.com",
        **sections,
    )
