"""What LMDeploy's chat templates are given, and prompts of replies that go on."""

import base64
from pathlib import Path

import pytest
from lmdeploy.model import get_chat_template

from desktop.domain.generation import ChatMessage, GenerationRequest, ImagePart, ToolCall, ToolSpec
from desktop.engine.chat_prompt import (
    HARMONY_FORMAT,
    THINK_FORMAT,
    ContinuingTemplate,
    to_lmdeploy,
    tools_to_lmdeploy,
    with_images,
)
from desktop.storage.paths import demo_checkpoint
from tests.engine import chat_templates as templates

ASKED = ChatMessage("user", "Why?")
CALL = ToolCall(id="c1", name="calc", arguments='{"x": 1}')


def request(*messages: ChatMessage) -> GenerationRequest:
    return GenerationRequest(request_id="r", messages=messages)


def folder_with(template: str, folder: Path) -> Path:
    """The demo checkpoint with another chat template."""
    for file in demo_checkpoint().iterdir():
        if file.name != "chat_template.jinja":
            (folder / file.name).symlink_to(file)
    (folder / "chat_template.jinja").write_text(template.strip("\n"), encoding="utf-8")
    return folder


def prompt(template: str, folder: Path, *messages: ChatMessage, **switches: bool) -> str:
    continuing = ContinuingTemplate(get_chat_template(str(folder_with(template, folder))), THINK_FORMAT)
    given = to_lmdeploy(request(*messages), images=False, arguments_as_text=True)
    return continuing.messages2prompt(given, tools=None, **switches)


START = "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
R1_START = "<｜User｜>Why?<｜Assistant｜><think>\n"


@pytest.mark.parametrize(
    ("template", "reply", "expected"),
    [
        (templates.QWEN3, ChatMessage("assistant", " Because  "), START + " Because  "),
        (templates.QWEN3, ChatMessage("assistant", "", reasoning="hm "), START + "<think>\nhm "),
        (templates.QWEN3, ChatMessage("assistant", "So", reasoning="hm"), START + "<think>\nhm\n</think>\n\nSo"),
        (templates.QWEN3, ChatMessage("assistant", ""), START),
        (templates.DEEPSEEK_R1, ChatMessage("assistant", "", reasoning="hm "), R1_START + "hm "),
        (templates.DEEPSEEK_R1, ChatMessage("assistant", "So", reasoning="hm"), R1_START + "hm\n</think>\n\nSo"),
        (templates.DEEPSEEK_R1, ChatMessage("assistant", "So"), R1_START + "\n</think>\n\nSo"),
        (templates.QWEN25, ChatMessage("assistant", "So \n"), START + "So \n"),
    ],
)
def test_a_reply_goes_on_behind_its_beginning(template: str, reply: ChatMessage, expected: str, tmp_path: Path) -> None:
    assert prompt(template, tmp_path, ASKED, reply) == expected


def test_the_switch_reaches_the_template(tmp_path: Path) -> None:
    assert prompt(templates.QWEN3, tmp_path, ASKED, enable_thinking=False) == START + "<think>\n\n</think>\n\n"
    assert not THINK_FORMAT.is_open(START + "<think>\n\n</think>\n\n")
    assert THINK_FORMAT.is_open(R1_START)


def test_reasoning_of_earlier_turns_is_the_templates_to_drop(tmp_path: Path) -> None:
    earlier = ChatMessage("assistant", "So", reasoning="hm")
    assert "hm" not in prompt(templates.QWEN3, tmp_path, ASKED, earlier, ASKED)


def test_calls_and_results_go_back_into_the_prompt(tmp_path: Path) -> None:
    called = ChatMessage("assistant", "", tool_calls=(CALL,))
    text = prompt(templates.QWEN3, tmp_path, ASKED, called, ChatMessage("tool", "4", tool_call_id="c1"))
    assert '<tool_call>\n{"name": "calc", "arguments": {"x": 1}}\n</tool_call>' in text
    assert "<tool_response>\n4\n</tool_response>" in text
    assert text.endswith("<|im_start|>assistant\n")


def test_harmony_goes_on_in_its_channel() -> None:
    start = "<|start|>assistant"
    assert HARMONY_FORMAT.beginning("", "So", start) == "<|channel|>final<|message|>So"
    assert HARMONY_FORMAT.beginning("hm", "", start) == "<|channel|>analysis<|message|>hm"
    both = HARMONY_FORMAT.beginning("hm", "So", start)
    assert both == "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>So"


def test_messages_in_openais_form() -> None:
    called = ChatMessage("assistant", "", reasoning="hm", tool_calls=(CALL,))
    given = to_lmdeploy(
        request(called, ChatMessage("tool", "4", tool_call_id="c1")), images=True, arguments_as_text=False
    )
    function = {"name": "calc", "arguments": {"x": 1}}
    assert given == [
        {
            "role": "assistant",
            "content": "",
            "reasoning_content": "hm",
            "tool_calls": [{"id": "c1", "type": "function", "function": function}],
        },
        {"role": "tool", "content": "4", "tool_call_id": "c1", "name": "calc"},
    ]


@pytest.mark.parametrize("broken", ["{", "[1]", "", "[" * 100_000])
def test_arguments_that_are_no_object_fit_the_template(broken: str) -> None:
    called = ChatMessage("assistant", "", tool_calls=(ToolCall(id="c", name="calc", arguments=broken),))
    for as_text, expected in ((True, broken), (False, {"arguments": broken})):
        (given,) = to_lmdeploy(request(called), images=False, arguments_as_text=as_text)
        assert given["tool_calls"][0]["function"]["arguments"] == expected


def test_pictures_stand_before_the_text_and_can_be_left_out() -> None:
    shown = ImagePart(b"\x89PNG", "image/png")
    asked = request(ChatMessage("user", "What is this?", images=(shown,)))
    (given,) = to_lmdeploy(asked, images=True, arguments_as_text=True)
    picture, text = given["content"]
    kind, _, data = picture["image_url"]["url"].partition(",")
    assert (kind, base64.b64decode(data)) == ("data:image/png;base64", b"\x89PNG")
    assert text == {"type": "text", "text": "What is this?"}
    assert to_lmdeploy(asked, images=False, arguments_as_text=True)[0]["content"] == "What is this?"
    other = ImagePart(b"", "image/png", 7)
    changed = with_images(asked, lambda image: other if image == shown else image)
    assert changed.messages == (ChatMessage("user", "What is this?", images=(other,)),)


def test_tools_in_openais_form() -> None:
    tool = ToolSpec(name="calc", description="d", parameters={"type": "object"})
    function = {"name": "calc", "description": "d", "parameters": {"type": "object"}}
    assert tools_to_lmdeploy((tool,)) == [{"type": "function", "function": function}]
    assert tools_to_lmdeploy(()) is None
