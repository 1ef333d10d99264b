"""Which of LMDeploy's parsers the templates of well-known families lead to."""

import pytest
from lmdeploy.serve.parsers.reasoning_parser import ReasoningParserManager
from lmdeploy.serve.parsers.tool_parser import ToolParserManager

from desktop.engine import parser_choice
from desktop.engine.parser_choice import ParserChoice, choose_parsers
from tests.engine import chat_templates as templates

THINKS = ("enable_thinking",)


@pytest.mark.parametrize(
    ("architecture", "template", "expected"),
    [
        ("Qwen3ForCausalLM", templates.QWEN3, ParserChoice(reasoning="default", tools="qwen3", switches=THINKS)),
        ("Qwen2ForCausalLM", templates.QWEN25, ParserChoice(tools="qwen3")),
        ("Qwen3MoeForCausalLM", templates.QWEN3_CODER, ParserChoice(tools="qwen3coder")),
        ("InternS2PreviewForCausalLM", templates.QWEN3_CODER, ParserChoice(tools="interns2-preview")),
        ("LlamaForCausalLM", templates.LLAMA3, ParserChoice(tools="llama3", bare_calls=True)),
        ("LlamaForCausalLM", templates.LLAMA31, ParserChoice(tools="llama3", bare_calls=True)),
        ("InternLM2ForCausalLM", templates.INTERNLM2, ParserChoice()),
        (
            "InternS1ForConditionalGeneration",
            templates.INTERN_S1,
            ParserChoice(reasoning="default", tools="intern-s1", switches=THINKS),
        ),
        ("Qwen2ForCausalLM", templates.DEEPSEEK_R1, ParserChoice(reasoning="default")),
        ("DeepseekV3ForCausalLM", templates.DEEPSEEK_V31, ParserChoice(reasoning="default", switches=("thinking",))),
        ("Glm4MoeForCausalLM", templates.GLM, ParserChoice(reasoning="default", tools="glm47", switches=THINKS)),
        ("UnheardOfForCausalLM", "", ParserChoice()),
        ("UnheardOfForCausalLM", None, ParserChoice()),
    ],
)
def test_a_template_leads_to_its_parsers(architecture: str, template: str | None, expected: ParserChoice) -> None:
    assert choose_parsers(architecture, "", template) == expected


def test_several_templates_are_looked_at_together() -> None:
    both = {"default": templates.INTERNLM2, "tool_use": templates.QWEN25}
    assert choose_parsers("Qwen2ForCausalLM", "qwen2", both).tools == "qwen3"


@pytest.mark.parametrize(
    ("architecture", "model_type", "expected"),
    [
        ("GptOssForCausalLM", "", "gpt-oss"),
        ("", "gpt_oss", "gpt-oss"),
        ("DeepseekV32ForCausalLM", "", "deepseek-v32"),
        ("", "deepseek_v4", "deepseek-v4"),
    ],
)
def test_formats_without_a_template_go_by_the_model(architecture: str, model_type: str, expected: str) -> None:
    choice = choose_parsers(architecture, model_type, None)
    assert expected in (choice.response, choice.tools)


def test_every_name_is_one_of_lmdeploys() -> None:
    tools = {name for _, name in parser_choice._TOOL_MARKS} | set(parser_choice._SAME_MARKS_OTHER_PARSER.values())
    tools |= {choice.tools for choice in parser_choice._BY_MODEL_TYPE.values() if choice.tools}
    assert tools <= set(ToolParserManager.module_dict)
    reasoning = {choice.reasoning for choice in parser_choice._BY_MODEL_TYPE.values() if choice.reasoning}
    assert {"default"} | reasoning <= set(ReasoningParserManager.module_dict)
