"""A model that does not answer as promised is neither pushed nor blessed, and never becomes the baseline."""

import pytest
from workbench import Bench, drawn

from components.errors import RefusedError

pytestmark = pytest.mark.e2e


def test_a_broken_signature_is_refused_and_the_next_run_compares_with_the_model_before(tmp_path):
    from pipeline.records import newest_run
    from pipeline.workspace import Workspace

    bench, workspace = Bench(tmp_path), Workspace.at(tmp_path / "workspace")
    bench.ingest(drawn(tmp_path / "drawn"))
    assert bench.run()["verdict"] == "pushed"
    first, versions = newest_run(workspace.metadata), bench.versions()

    with pytest.raises(RefusedError, match="signature serving_default is missing"):
        bench.run_here("broken_model.run_fn")
    refused = bench.status()["runs"][-1]
    assert refused["verdict"] == "refused"
    assert refused["reasons"] == ["the exported model may not serve: signature serving_default is missing"]
    assert "SegmentationEvaluator" not in refused["nodes"]
    assert bench.versions() == versions

    bench.sections["training"] = {"steps": 5, "batch_size": 8, "evaluations": 1}
    assert bench.run()["verdict"] == "pushed"
    blessing = newest_run(workspace.metadata).output("SegmentationEvaluator", "blessing")
    baseline = blessing.custom_properties["baseline_model"].string_value
    assert baseline == first.output("Trainer", "model").uri
