"""Which version answers, what is in memory, and that nothing broken or gone takes anything along."""

import asyncio
import shutil
import time
import weakref

import pytest

from components.serving.metrics import Metrics
from components.serving.model_store import ModelStore
from components.serving.request_error import RequestError
from components.serving.settings import ServingSettings


def add(folder, *versions: int, broken: bool = False) -> None:
    """Puts copies of version 1 beside it, as the pusher does: whole and at once."""
    for version in versions:
        shutil.copytree(folder / "1", folder / f".{version}")
        if broken:
            (folder / f".{version}" / "saved_model.pb").write_bytes(b"half")
        (folder / f".{version}").rename(folder / str(version))


def store_of(folder, **settings) -> ModelStore:
    return ModelStore(ServingSettings(str(folder), **settings), Metrics())


async def version_of(store: ModelStore, version: int | None = None) -> int:
    async with store.lease(version) as model:
        return model.version


def test_the_highest_version_is_live_and_others_load_when_they_are_named(folder):
    async def check():
        add(folder, 2, 3)
        store = store_of(folder, max_loaded=2)
        await store.refresh()
        assert (store.live, store.loaded) == (3, [3])
        assert [await version_of(store), await version_of(store, 1)] == [3, 1]
        assert store.loaded == [1, 3]
        assert await version_of(store, 2) == 2
        assert store.loaded == [2, 3], "the one that was not used for longest makes room, never the live one"

    asyncio.run(check())


def test_a_new_version_takes_over(folder):
    async def check():
        store = store_of(folder)
        await store.refresh()
        add(folder, 5)
        await store.refresh()
        assert (store.live, await version_of(store)) == (5, 5)

    asyncio.run(check())


def test_a_version_that_does_not_load_leaves_the_one_before_live(folder):
    async def check():
        store = store_of(folder)
        await store.refresh()
        add(folder, 6, broken=True)
        await store.refresh()
        assert (store.live, await version_of(store), list(store.failures)) == (1, 1, [6])
        with pytest.raises(RequestError, match="version 6 cannot be loaded") as told:
            await version_of(store, 6)
        assert told.value.status == 503
        shutil.rmtree(folder / "6")
        await store.refresh()
        assert store.failures == {}

    asyncio.run(check())


def test_a_version_that_links_elsewhere_is_not_loaded(folder, tmp_path):
    async def check():
        (folder / "1").rename(tmp_path / "elsewhere")
        (folder / "3").symlink_to(tmp_path / "elsewhere")
        store = store_of(folder)
        await store.refresh()
        assert (store.live, store.loaded) == (None, [])
        assert "is a link to" in store.failures[3].reason

    asyncio.run(check())


def test_a_version_that_did_not_load_is_tried_again(folder):
    async def check():
        add(folder, 6, broken=True)
        store = store_of(folder, retry_seconds=0.01)
        await store.refresh()
        assert store.live == 1
        shutil.copy(folder / "1" / "saved_model.pb", folder / "6" / "saved_model.pb")
        await asyncio.sleep(0.02)
        await store.refresh()
        assert store.live == 6

    asyncio.run(check())


def test_a_request_keeps_its_version_though_the_folder_is_gone(folder):
    async def check():
        add(folder, 2)
        store = store_of(folder)
        await store.refresh()
        async with store.lease(2) as model:
            shutil.rmtree(folder / "2")
            await store.refresh()
            assert (store.live, store.loaded) == (1, [1, 2])
            assert model.ask("serving_default", {"image_bytes": []})["mask"].shape == (0, 32, 48)
        await store.refresh()
        assert store.loaded == [1]
        with pytest.raises(RequestError, match="Specific") as told:
            await version_of(store, 2)
        assert told.value.status == 404

    asyncio.run(check())


def test_what_is_unloaded_leaves_the_memory(folder):
    async def check():
        add(folder, 2)
        store = store_of(folder)
        await store.refresh()
        async with store.lease(2) as model:
            seen = weakref.ref(model)
        del model
        shutil.rmtree(folder / "2")
        await store.refresh()
        assert store.loaded == [1]
        assert seen() is None

    asyncio.run(check())


def test_an_idle_version_is_unloaded_and_the_live_one_stays(folder):
    async def check():
        add(folder, 2)
        store = store_of(folder, idle_seconds=0.2)
        await store.refresh()
        await version_of(store, 1)
        await store.refresh()
        assert store.loaded == [1, 2]
        time.sleep(0.25)
        await store.refresh()
        assert store.loaded == [2]

    asyncio.run(check())


def test_when_all_in_memory_are_in_use_a_third_waits_for_room(folder):
    async def check():
        add(folder, 2, 3)
        store = store_of(folder, max_loaded=2)
        await store.refresh()
        async with store.lease(2):
            waiting = asyncio.create_task(version_of(store, 1))
            await asyncio.sleep(0.3)
            assert not waiting.done() and store.loaded == [2, 3]
        assert await waiting == 1
        assert store.loaded == [1, 3]

    asyncio.run(check())


def test_when_there_is_no_room_for_too_long_the_client_is_told_to_come_again(folder):
    async def check():
        add(folder, 2, 3)
        store = store_of(folder, max_loaded=2, retry_seconds=0.2)
        await store.refresh()
        async with store.lease(2):
            with pytest.raises(RequestError, match="finds no room") as told:
                await version_of(store, 1)
            assert told.value.status == 503 and told.value.retry_after

    asyncio.run(check())


def test_many_requests_for_one_version_load_it_once(folder):
    async def check():
        add(folder, 2)
        metrics = Metrics()
        store = ModelStore(ServingSettings(str(folder)), metrics)
        await store.refresh()
        found = await asyncio.gather(*(version_of(store, 1) for _ in range(8)))
        assert found == [1] * 8
        assert metrics.registry.get_sample_value("segpipe_model_load_seconds_count") == 2

    asyncio.run(check())


def test_without_a_model_there_is_none_until_one_comes_and_after_it_goes(folder, tmp_path):
    async def check():
        empty = tmp_path / "elsewhere"
        store = store_of(empty)
        await store.refresh()
        with pytest.raises(RequestError, match="no model is pushed yet") as told:
            await version_of(store)
        assert told.value.status == 404
        shutil.copytree(folder / "1", empty / "1")
        await store.refresh()
        assert await version_of(store) == 1
        shutil.rmtree(empty / "1")
        await store.refresh()
        assert (store.live, store.loaded) == (None, [])

    asyncio.run(check())
