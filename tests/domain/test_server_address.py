"""Addresses of servers as people type them, and as the path of a model."""

from __future__ import annotations

import pytest

from desktop.domain.server_address import (
    ServerModel,
    is_readable_on_the_way,
    is_this_machine,
    read_address,
    server_model,
)


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("localhost:23333", "http://localhost:23333/v1"),
        (" http://127.0.0.1:23333/ \n", "http://127.0.0.1:23333/v1"),
        ("https://api.example.org/v1", "https://api.example.org/v1"),
        ("https://api.example.org/v1/chat/completions", "https://api.example.org/v1"),
        ("https://example.org/openai/v1/models/", "https://example.org/openai/v1"),
        ("[::1]:8000", "http://[::1]:8000/v1"),
        ("gpu-box", "http://gpu-box/v1"),
    ],
)
def test_what_people_type(typed: str, address: str) -> None:
    assert read_address(typed) == address


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("  ", "no address"),
        ("ftp://host", "not with ftp://"),
        ("http://", "no address"),
        ("two words", "no address"),
        ("host:port", "no address"),
        ("http://user:secret@host", "a field of its own"),
        ("http://host/v1?key=1", "question mark"),
        ("http://[::1", "no address"),
    ],
)
def test_what_is_no_address(typed: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_address(typed)


@pytest.mark.parametrize("name", ["demo", "Qwen/Qwen3-8B", "a b#c?d%e", "模型:latest", ""])
def test_a_model_and_its_path(name: str) -> None:
    model = ServerModel("http://127.0.0.1:23333/v1", name)
    assert server_model(model.path) == model
    assert model.place == "127.0.0.1:23333"


def test_a_folder_is_no_server() -> None:
    assert server_model("/models/http") is None
    assert server_model("") is None


@pytest.mark.parametrize(
    ("address", "here", "readable"),
    [
        ("http://127.0.0.1:1/v1", True, False),
        ("http://127.8.0.1/v1", True, False),
        ("http://[::1]:1/v1", True, False),
        ("http://localhost/v1", True, False),
        ("http://10.0.0.7/v1", False, True),
        ("https://10.0.0.7/v1", False, False),
        ("http://localhost.example.org/v1", False, True),
    ],
)
def test_who_can_read_what_is_sent(address: str, here: bool, readable: bool) -> None:
    assert is_this_machine(address) is here
    assert is_readable_on_the_way(address) is readable
