"""Who writes the shards of an ingest: this process, with others beside it where there are many photos, or Beam."""

import multiprocessing
import os
import signal
import threading
import warnings
from collections import deque
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING

from components.errors import SegpipeError
from components.machine import useful_processes

if TYPE_CHECKING:
    # A process that only just starts must obey the first one before it imports TensorFlow.
    from components.ingest.settings import DataSettings
    from components.ingest.shards import ShardPlan, ShardResult, ShardWriter
    from trainer.features import FeatureSpec

# A second one needs 3.5 seconds until it has imported TensorFlow, in which the first reads on; see
# benchmarks/ingest_speed.py.
_PHOTOS_PER_PROCESS = 2_500
# Each was seen to take 650 MB.
_BYTES_PER_PROCESS = 1 << 30


def write_shards(
    plans: list["ShardPlan"], spec: "FeatureSpec", settings: "DataSettings", beam_args: list[str] | None = None
) -> list["ShardResult"]:
    """Writes the shards of all plans.

    Args:
      plans: of `plan_shards`.
      spec, settings: see `ingest`.
      beam_args: of a Beam pipeline that does it; None does it on this machine, in as many processes as are useful.

    Returns:
      One result per plan, in the order of the plans.

    Raises:
      SegpipeError: if a shard was not written.
    """
    from components.ingest.shards import ShardResult, ShardWriter
    from components.ingest.spans import read_record

    if beam_args is None:
        photos = sum(len(plan.pairs) for plan in plans)
        processes = useful_processes(photos, _PHOTOS_PER_PROCESS, _BYTES_PER_PROCESS)
        _write_here(plans, ShardWriter(spec, settings, processes), processes)
    else:
        from components.ingest.beam_shards import write_on_beam

        write_on_beam(plans, spec, settings, beam_args)
    results = []
    for plan in plans:
        if not os.path.isfile(plan.result):
            raise SegpipeError(f"{plan.path}: all workers finished and none wrote this shard; run the command again")
        results.append(read_record(plan.result, ShardResult))
        os.remove(plan.result)
    return results


def _write_here(plans: list["ShardPlan"], writer: "ShardWriter", processes: int) -> None:
    """Writes all shards in so many processes, of which this is one."""
    if processes == 1:
        for plan in plans:
            writer.write(plan)
        return
    # TensorFlow's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes - 1, context, initializer=_obey_first)
    waiting, others = deque(plans), set()
    try:
        while waiting or others:
            # The next one lies ready for each, so that none waits for this process to look after it.
            while waiting and len(others) < 2 * (processes - 1):
                others.add(pool.submit(writer.write, waiting.popleft()))
            if waiting:
                writer.write(waiting.popleft())
            done, others = wait(others, 0 if waiting else None, FIRST_COMPLETED)
            for future in done:
                future.result()
    except BrokenProcessPool as error:
        raise SegpipeError(
            "a process of this ingest was ended, most likely for want of memory; free some, or write beam: {nodes: "
            "{ingest: {direct_num_workers: 1}}} into the config, and run the command again"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _obey_first() -> None:
    """What a further process does before all else: it leaves Ctrl-C to the first, and ends when that one is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The first one has warned of the same, or was told not to.
    warnings.simplefilter("ignore")
    first = multiprocessing.parent_process()

    def follow() -> None:
        first.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
