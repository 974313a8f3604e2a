"""The half of ingest that opens files: a shard is read and written whole by one worker.

A shard is a fixed list of pairs in a fixed order, so its bytes depend on the sources alone, whoever writes it; a worker
holds a few photos at a time, so memory stays flat.

A worker reads ahead in threads where it has several processors to itself, unless the photos are small: decoding and
hashing large ones is nearly all of the work, and Python lets others run meanwhile.
"""

import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import tensorflow as tf

from components.ingest.examples import to_example
from components.ingest.opening import Unreadable, file_bytes
from components.ingest.reader import ReadPair, ReadPhoto, read_photo, with_mask
from components.ingest.settings import DataSettings
from components.ingest.sources import SPLITS, Pair, Quarantined
from components.ingest.spans import Record, Shard, SourceFile, file_sha256, file_size, write_record
from components.machine import usable_cores
from trainer import features

PHOTOS_PER_SHARD = 200
# Each of the stages goes through so many photos before the next one starts, or through fewer that fill so many bytes. A
# processor whose caches hold the code of one decoder at a time takes 0.86 of the time for eight photos of 500x375.
PHOTOS_AT_ONCE = 8
BYTES_AT_ONCE = 4 << 20
# Two threads took 1.3 times the time of one for photos of 12 KB and three quarters of it for those of 80 KB; see
# benchmarks/ingest_speed.py.
_SMALL_PHOTO = 32_000
_SAMPLE = 16


@dataclass(frozen=True)
class ShardPlan:
    """Which pairs go into which file, in which order."""

    split: str
    path: str
    pairs: tuple[Pair, ...]

    @property
    def result(self) -> str:
        """Path of the `ShardResult`."""
        return self.path + ".result.json"


class ShardResult(Record):
    """What became of a plan. The worker leaves it beside the shard, where it is found whoever the worker is."""

    split: str
    shard: Shard
    sources: list[SourceFile]
    quarantined: list[Quarantined]


def plan_shards(pairs: list[Pair], folder: str) -> list[ShardPlan]:
    """Spreads pairs over shards of at most 200 photos, in the order of their hashes: shuffled, but always the same."""
    plans = []
    for split in SPLITS:
        chosen = sorted((pair for pair in pairs if pair.split == split), key=lambda pair: pair.order)
        count = -(-len(chosen) // PHOTOS_PER_SHARD)
        for index in range(count):
            path = os.path.join(folder, f"{split}-{index:05d}-of-{count:05d}.tfrecord")
            plans.append(ShardPlan(split, path, tuple(chosen[index::count])))
    return plans


def raw_example(pair: Pair, read: ReadPair, spec: features.FeatureSpec, settings: DataSettings) -> tf.train.Example:
    """The raw example of the data contract: photo, mask, name, size, drift features and slice keys."""
    values: dict[str, bytes | int | float] = {
        features.IMAGE: read.image,
        features.MASK: read.mask,
        features.FILENAME: os.path.basename(pair.photo).encode("utf-8", "surrogateescape"),
        features.HEIGHT: read.height,
        features.WIDTH: read.width,
        features.BRIGHTNESS: read.brightness,
    }
    for name, share in zip(spec.class_names, read.class_shares, strict=True):
        values[features.CLASS_SHARE + name] = share
    for name, value in settings.slice_values(pair.stem).items():
        values[name] = value.encode("utf-8", "surrogateescape")
    return to_example(values)


def useful_threads(pairs: tuple[Pair, ...], processes: int = 1) -> int:
    """How many threads read these pairs fastest, by the sizes of the first photos.

    Those of small photos would wait for each other: their decoders, which let others run, are soon through.

    Args:
      pairs: of a shard.
      processes: how many share this machine; 0 means one for each processor.
    """
    sizes = [file_size(pair.photo) for pair in pairs[:_SAMPLE]]
    processors = usable_cores()
    return max(1, processors // (processes or processors)) if sum(sizes) >= _SMALL_PHOTO * len(sizes) else 1


_Entry = tuple[SourceFile, bytes | None, Quarantined | None]
"""Of the manifest, of the shard and of the quarantine; the last two are one or the other."""


@dataclass
class _Work:
    """A pair on its way through the stages of ingest, up to the one that refuses it."""

    pair: Pair
    photo: bytes | None = None
    mask: bytes | None = None
    opened: ReadPhoto | None = None
    read: ReadPair | None = None
    example: bytes | None = None
    problem: Quarantined | None = None

    def entry(self) -> _Entry:
        """What is kept of it."""
        source = SourceFile(
            photo=os.path.basename(self.pair.photo),
            mask=os.path.basename(self.pair.mask),
            photo_sha256=None if self.photo is None else hashlib.sha256(self.photo).hexdigest(),
            mask_sha256=None if self.mask is None else hashlib.sha256(self.mask).hexdigest(),
            photo_bytes=file_size(self.pair.photo) if self.photo is None else len(self.photo),
            mask_bytes=file_size(self.pair.mask) if self.mask is None else len(self.mask),
            split=self.pair.split,
            verdict=self.problem.reason if self.problem else "ingested",
            perceptual_hash=self.read.perceptual_hash if self.read else None,
        )
        return source, self.example, self.problem


def _blocks(pairs: Iterable[Pair]) -> Iterator[list[Pair]]:
    """The pairs in their order, as many at once as go through a stage together."""
    block, size = [], 0
    for pair in pairs:
        block.append(pair)
        size += file_size(pair.photo)
        if len(block) == PHOTOS_AT_ONCE or size >= BYTES_AT_ONCE:
            yield block
            block, size = [], 0
    if block:
        yield block


class ShardWriter:
    """Reads and checks pairs and writes them.

    Args:
      spec, settings: see `ingest`.
      processes: see `useful_threads`.
    """

    def __init__(self, spec: features.FeatureSpec, settings: DataSettings, processes: int = 1):
        self._spec, self._settings, self._processes = spec, settings, processes

    def write(self, plan: ShardPlan) -> None:
        """Writes one shard, and its `ShardResult` beside it."""
        sources, quarantined = [], []
        with tf.io.TFRecordWriter(plan.path) as writer:
            for source, example, problem in self._read(plan.pairs):
                sources.append(source)
                if example is None:
                    quarantined.append(problem)
                else:
                    writer.write(example)
        shard = Shard(
            name=os.path.basename(plan.path),
            examples=len(sources) - len(quarantined),
            bytes=os.path.getsize(plan.path),
            sha256=file_sha256(plan.path),
        )
        result = ShardResult(split=plan.split, shard=shard, sources=sources, quarantined=quarantined)
        write_record(plan.result, result, indent=None)

    def _read(self, pairs: tuple[Pair, ...]) -> Iterator[_Entry]:
        """What becomes of each pair, in their order."""
        threads = self._settings.threads or useful_threads(pairs, self._processes)
        if threads == 1:
            for block in _blocks(pairs):
                yield from self._ingest(block)
            return
        with ThreadPoolExecutor(threads) as pool:
            ahead = deque()
            for block in _blocks(pairs):
                ahead.append(pool.submit(self._ingest, block))
                if len(ahead) == 2 * threads:
                    yield from ahead.popleft().result()
            for done in ahead:
                yield from done.result()

    def _ingest(self, pairs: list[Pair]) -> list[_Entry]:
        block = [_Work(pair) for pair in pairs]
        for stage in (self._open, self._read_photo, self._read_mask, self._serialise):
            for work in block:
                if work.problem is None:
                    try:
                        stage(work)
                    except Unreadable as error:
                        work.problem = Quarantined(file=work.pair.photo, reason=error.reason, detail=error.detail)
        return [work.entry() for work in block]

    def _open(self, work: _Work) -> None:
        work.photo = file_bytes(work.pair.photo, "photo")
        work.mask = file_bytes(work.pair.mask, "mask")

    def _read_photo(self, work: _Work) -> None:
        work.opened = read_photo(work.photo, self._settings)

    def _read_mask(self, work: _Work) -> None:
        work.read = with_mask(work.opened, work.mask, self._spec, self._settings)

    def _serialise(self, work: _Work) -> None:
        example = raw_example(work.pair, work.read, self._spec, self._settings)
        work.example = example.SerializeToString(deterministic=True)
