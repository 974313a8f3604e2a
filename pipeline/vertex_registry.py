"""VertexRegistry: the last node of a run on Vertex AI, which makes a pushed model a version in the model registry.

From there it is deployed to an endpoint: by VertexEndpoint, by hand, or by whoever watches the registry. A version is
registered once: it carries the number of the pushed version as a label.
"""

import json

from absl import logging
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, channel, component_spec, standard_artifacts

from pipeline.vertex_client import connect
from pipeline.vertex_serving import serving_container
from pipeline.vertex_settings import VertexSettings

LABEL = "segpipe_version"
RESOURCE = "resource"
"""Custom property of the output: name of the version in the registry; empty where nothing was pushed."""
VERSION = "pushed_version"
"""Custom property of the pusher's output and of this one."""

_SCHEME = "gs://"
_NEEDED = {"project", "region", "root", "image", "endpoint", "labels", "registry"}


class Executor(base_executor.BaseExecutor):
    """Executor of VertexRegistry."""

    def Do(self, input_dict, output_dict, exec_properties):
        """Registers the pushed version, unless it is registered; sets `resource` of `registered_model`."""
        pushed = artifact_utils.get_single_instance(input_dict["pushed_model"])
        registered = artifact_utils.get_single_instance(output_dict["registered_model"])
        if not pushed.get_int_custom_property("pushed"):
            logging.info("nothing was pushed, so nothing is registered")
            registered.set_string_custom_property(RESOURCE, "")
            return
        version = pushed.get_string_custom_property(VERSION)
        resource = register(settings_from(exec_properties["settings"]), exec_properties["model"], version)
        logging.info("version %s is %s", version, resource)
        registered.set_string_custom_property(RESOURCE, resource)
        registered.set_string_custom_property(VERSION, version)


def settings_text(settings: VertexSettings) -> str:
    """What a node needs of the section `vertex`, as a parameter of it.

    The root is without `gs://`, for which the container's command would put a path.
    """
    content = settings.model_dump(include=_NEEDED)
    content["root"] = settings.root.removeprefix(_SCHEME)
    return json.dumps(content, sort_keys=True)


def settings_from(text: str) -> VertexSettings:
    """The section again."""
    content = json.loads(text)
    return VertexSettings.model_validate(content | {"root": _SCHEME + content["root"]})


def register(settings: VertexSettings, model: str, version: str) -> str:
    """Makes a pushed model a version in the registry, the default one, if it is not there yet.

    Args:
      settings: the section `vertex`, with `registry`.
      model: id of the model in the registry; it is made if it is not there.
      version: of the serving folder.

    Returns:
      Name of the version, as Vertex AI knows it.

    Raises:
      SegpipeError: if the service refuses or cannot be reached.
    """
    from google.api_core.exceptions import NotFound
    from google.cloud import aiplatform
    from google.cloud.aiplatform.models import ModelRegistry

    def call(_: bool) -> str:
        try:
            there = ModelRegistry(model).list_versions(filter=f'labels.{LABEL}="{version}"')
            known = True
        except NotFound:
            there, known = [], False
        if there:
            return f"{there[0].model_resource_name}@{there[0].version_id}"
        made = aiplatform.Model.upload(
            artifact_uri=f"{settings.root}/serving_model/{version}",
            display_name=model,
            labels=settings.labels | {LABEL: version},
            **serving_container(settings, version),
            # A model that is there gets a version; one that is not is made.
            **({"parent_model": model} if known else {"model_id": model}),
        )
        return made.versioned_resource_name

    return connect(settings).ask(call)


class VertexRegistrySpec(component_spec.ComponentSpec):
    """`model`: id in the registry. `settings`: see `settings_text`. `fingerprint`: hash of the code."""

    PARAMETERS = {
        "model": component_spec.ExecutionParameter(type=str),
        "settings": component_spec.ExecutionParameter(type=str),
        "fingerprint": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {"pushed_model": component_spec.ChannelParameter(type=standard_artifacts.PushedModel)}
    OUTPUTS = {"registered_model": component_spec.ChannelParameter(type=standard_artifacts.PushedModel)}


class VertexRegistry(base_component.BaseComponent):
    """Registers what the pusher pushed."""

    SPEC_CLASS = VertexRegistrySpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, pushed_model: channel.BaseChannel, model: str, settings: VertexSettings, fingerprint: str):
        spec = VertexRegistrySpec(
            pushed_model=pushed_model,
            model=settings.registry.model or model,
            settings=settings_text(settings),
            fingerprint=fingerprint,
            registered_model=channel.OutputChannel(standard_artifacts.PushedModel, self, "registered_model"),
        )
        super().__init__(spec)
