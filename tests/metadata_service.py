"""ML Metadata's gRPC service on loopback, over a database in a file: its wheel has the client, not the server."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
from ml_metadata import errors
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2, metadata_store_service_pb2


@contextlib.contextmanager
def metadata_service(database: str) -> Iterator[str]:
    """Serves every method of the service; yields `grpc://HOST:PORT`."""
    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = database
    connection.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    store = metadata_store.MetadataStore(connection)
    service = metadata_store_service_pb2.DESCRIPTOR.services_by_name["MetadataStoreService"]

    def handler(method):
        request_class = getattr(metadata_store_service_pb2, method.input_type.name)
        response_class = getattr(metadata_store_service_pb2, method.output_type.name)

        def answer(request, context):
            response = response_class()
            try:
                store._call(method.name, request, response)
            except errors.StatusError as error:
                codes = {code.value[0]: code for code in grpc.StatusCode}
                context.abort(codes[error.error_code], str(error))
            return response

        return grpc.unary_unary_rpc_method_handler(answer, request_class.FromString, response_class.SerializeToString)

    # SQLite takes one writer at a time.
    server = grpc.server(ThreadPoolExecutor(1))
    handlers = {method.name: handler(method) for method in service.methods}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{port}"
    finally:
        server.stop(None)
