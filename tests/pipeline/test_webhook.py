"""A webhook gets JSON; one that is down, wrong or slow is said and fails nothing; its secret is told to nobody."""

import time

import pytest
from hook_server import hooked

from components.errors import UsageError
from pipeline import webhook
from pipeline.webhook import check_webhook, post


def test_an_event_arrives_as_json_with_the_secret_in_its_place(monkeypatch):
    monkeypatch.setenv("HOOK_TOKEN", "hunter2")
    said = []
    with hooked() as hook:
        post(check_webhook(hook.url + "hooks/${HOOK_TOKEN}"), {"event": "refused"}, said.append)
    assert (hook.paths, hook.events, said) == (["/hooks/hunter2"], [{"event": "refused"}], [])


@pytest.mark.parametrize("status", [302, 404, 500])
def test_an_answer_that_is_no_success_is_said(status):
    said = []
    with hooked(status) as hook:
        post(hook.url + "hooks/hunter2", {}, said.append)
    assert len(said) == 1 and f"not delivered (it answered {status}); the schedule goes on" in said[0]
    assert len(hook.events) == 1 and "hunter2" not in said[0]


def test_one_that_is_down_is_said_without_its_secret(monkeypatch):
    monkeypatch.setenv("HOOK_TOKEN", "hunter2")
    with hooked() as hook:
        address = hook.url.replace("http://", "http://ana:${HOOK_TOKEN}@") + "hooks/${HOOK_TOKEN}"
    said = []
    post(check_webhook(address), {}, said.append)
    assert said == [f"webhook {hook.url[7:-1]}: not delivered (ConnectionError); the schedule goes on"]


def test_one_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(webhook, "_SECONDS", 0.1)
    said = []
    monkeypatch.setattr("hook_server.json.loads", lambda _: time.sleep(1))
    with hooked() as hook:
        post(hook.url, {}, said.append)
    assert "not delivered (ReadTimeout)" in said[0]


@pytest.mark.parametrize(
    "address, told",
    [
        ("hooks.example/x", "is no web address"),
        ("ftp://hooks.example/x", "is no web address"),
        ("https://ana:hunter2@hooks.example/", "holds a password"),
        ("https://hooks.example/${NOT_SET}", "the environment variable NOT_SET is not set"),
    ],
)
def test_an_address_that_cannot_be_right_is_refused_before_anything_starts(address, told):
    with pytest.raises(UsageError, match=told) as error:
        check_webhook(address)
    assert "hunter2" not in str(error.value)
