"""The command that serves the pushed model."""

import logging

import click

from pipeline.cli_options import with_config, with_workspace


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", default=8501, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--max-request-bytes", default=32 * 2**20, show_default=True, type=click.IntRange(1024))
@click.option("--max-instances", default=64, show_default=True, type=click.IntRange(1), help="Photos in one request.")
@click.option(
    "--max-requests", default=64, show_default=True, type=click.IntRange(1), help="At once; others get 503 at once."
)
@click.option(
    "--max-loaded", default=2, show_default=True, type=click.IntRange(2), help="Versions in memory, the live one too."
)
@with_config
@with_workspace
def serve(workspace, config, host, port, max_request_bytes, max_instances, max_requests, max_loaded) -> None:
    """Serve the pushed model: a web page to try it, and TensorFlow Serving's REST API.

    New versions are picked up while it runs. Photos of more than data.max_pixels are refused. Ctrl-C or SIGTERM ends
    it when the requests inside are answered.

    Example: segpipe serve --port 8501
    """
    from components.serving.server import listen, url_of
    from components.serving.server import serve as serve_folder
    from components.serving.settings import ServingSettings

    settings = ServingSettings(
        folder=workspace.serving,
        max_pixels=config.data.max_pixels,
        max_request_bytes=max_request_bytes,
        max_instances=max_instances,
        max_requests=max_requests,
        max_loaded=max_loaded,
    )
    logging.basicConfig(format="%(asctime)s %(message)s")
    logging.getLogger("segpipe.serving").setLevel(logging.INFO)
    listening = listen(host, port)
    serve_folder(settings, listening, lambda: click.echo(f"serving {workspace.serving} at {url_of(listening)}"))
