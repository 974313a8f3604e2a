"""The curated schema: what the data of a run must look like. `schema.pbtxt` is kept by hand and lives in git."""

import os

SCHEMA_FILE = os.path.join(os.path.dirname(__file__), "schema.pbtxt")
