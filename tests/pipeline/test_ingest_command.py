"""`segpipe ingest` as the command runs it."""

from types import SimpleNamespace

import psutil
import pytest
from click.testing import CliRunner
from drawing import write_pets

from components.ingest import ingest as ingest_module
from pipeline import beam_settings
from pipeline.cli import main

TRAIN, TEST = [f"pug_{number}" for number in range(6)], [f"Bengal_{number}" for number in range(2)]


@pytest.mark.parametrize("of_a_process, workers", [(5, 1), (4, 2)])
def test_as_many_photos_as_two_processes_take_are_ingested_by_two(monkeypatch, tmp_path, of_a_process, workers):
    source = write_pets(tmp_path / "source", TRAIN, TEST)
    monkeypatch.setattr(beam_settings, "_PHOTOS_PER_PROCESS", of_a_process)
    monkeypatch.setattr(beam_settings, "usable_cores", lambda: 8)
    started, write_shards = [], ingest_module.write_shards

    def noting(plans, spec, settings, beam_args):
        results = write_shards(plans, spec, settings, beam_args)
        started.append(next(a.partition("=")[2] for a in beam_args if a.startswith("--direct_num_workers=")))
        return results

    monkeypatch.setattr(ingest_module, "write_shards", noting)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=64 << 30))
    folders = ["--images", f"{source}/images", "--masks", f"{source}/annotations/trimaps"]
    lists = ["--split-lists", f"{source}/annotations", "--workspace", str(tmp_path / "workspace")]
    result = CliRunner().invoke(main, ["ingest", *folders, *lists])
    assert result.exit_code == 0, result.output
    assert "8 photos found = 8 ingested (6 train + 2 eval) + 0 quarantined" in result.output
    assert started == [str(workers)]
