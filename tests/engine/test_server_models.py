"""The list of a server's models, and every answer that is none."""

from __future__ import annotations

import socket

import pytest

from desktop.domain.errors import FailureCode, TurbodeskError
from desktop.domain.server_address import ServerModel
from desktop.engine import server_models
from desktop.engine.server_models import list_models
from tests.small_server import Reply, SmallServer, in_json, models


def refused(server: SmallServer, code: FailureCode) -> str:
    with pytest.raises(TurbodeskError) as said:
        list_models(server.address, "a secret")
    assert said.value.failure.code is code
    assert "a secret" not in repr(said.value.failure)
    return said.value.failure.message


def test_its_models_in_its_order() -> None:
    with SmallServer(lambda asked: models("b", "a/c", program="vllm")) as server:
        found = list_models(server.address, "a secret")
    assert [served.model for served in found] == [ServerModel(server.address, name) for name in ("b", "a/c")]
    assert {served.program for served in found} == {"vLLM"}
    assert [(one.path, one.key) for one in server.asked] == [("/v1/models", "a secret")]


def test_without_a_key_none_is_sent() -> None:
    with SmallServer(lambda asked: models("a", program="somebody")) as server:
        (found,) = list_models(server.address)
    assert (found.program, server.asked[0].key) == ("", "")


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused(status: int) -> None:
    with SmallServer(lambda asked: in_json({}, status)) as server:
        assert "does not accept the key" in refused(server, FailureCode.SERVER_REFUSED_KEY)


def test_the_key_does_not_follow_a_redirect() -> None:
    with SmallServer(lambda asked: models("a")) as other:
        to = other.address + "/models"
        with SmallServer(lambda asked: Reply(302, b"", {"Location": to})) as server:
            assert f"sends on to {to}" in refused(server, FailureCode.NOT_A_SERVER)
    assert other.asked == []


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, b"<html>", {}),
        in_json([]),
        in_json({"data": None}),
        in_json({"data": [{}]}),
        in_json({"data": ["a"]}),
        Reply(200, b"[" * 100_000, {}),
        Reply(404, b"", {}),
        Reply(200, b"\xff\xfe\x00", {}),
        Reply(200, b'{"data": [', {}, whole=False),
    ],
)
def test_an_answer_that_is_no_list(reply: Reply) -> None:
    with SmallServer(lambda asked: reply) as server:
        refused(server, FailureCode.NOT_A_SERVER)


def test_an_answer_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_models, "_MOST_BYTES", 1000)
    with SmallServer(lambda asked: models("a" * 1000)) as server:
        assert "too long" in refused(server, FailureCode.NOT_A_SERVER)


def test_a_server_that_fails() -> None:
    with SmallServer(lambda asked: Reply(503, b"", {})) as server:
        assert "HTTP 503" in refused(server, FailureCode.SERVER_UNREACHABLE)


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(TurbodeskError, match="nothing listens there"):
        list_models(address)


def test_somebody_who_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_models, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        with pytest.raises(TurbodeskError, match="no answer in"):
            list_models(address)


def test_a_proxy_is_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    with SmallServer(lambda asked: models("a")) as server:
        assert list_models(server.address)
