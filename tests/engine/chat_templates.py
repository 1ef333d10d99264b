"""Chat templates in the manner of well-known families, cut down to what matters: the marks and the switches."""

_CHATML_TURNS = """
{%- for message in messages %}
  {%- if message.role == 'assistant' and message.tool_calls %}
    {{- '<|im_start|>assistant\\n' + message.content }}
    {%- for call in message.tool_calls %}
      {{- '\\n<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}
      {{- call.function.arguments if call.function.arguments is string else call.function.arguments | tojson }}
      {{- '}\\n</tool_call>' }}
    {%- endfor %}
    {{- '<|im_end|>\\n' }}
  {%- elif message.role == 'tool' %}
    {{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
  {%- elif message.role == 'assistant' and message.reasoning_content and loop.last %}
    {{- '<|im_start|>assistant\\n<think>\\n' + message.reasoning_content + '\\n</think>\\n\\n' }}
    {{- message.content.strip() + '<|im_end|>\\n' }}
  {%- else %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
  {%- endif %}
{%- endfor %}
"""

_HERMES_TOOLS = """
{%- if tools %}
  {{- '<|im_start|>system\\n# Tools\\n<tools>\\n' }}
  {%- for tool in tools %}{{- tool | tojson + '\\n' }}{%- endfor %}
  {{- '</tools>\\nAnswer with <tool_call>\\n{"name": <name>, "arguments": <object>}\\n</tool_call><|im_end|>\\n' }}
{%- endif %}
"""

QWEN3 = (
    _HERMES_TOOLS
    + _CHATML_TURNS
    + """
{%- if add_generation_prompt %}
  {{- '<|im_start|>assistant\\n' }}
  {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}
"""
)

QWEN25 = (
    _HERMES_TOOLS
    + _CHATML_TURNS.replace("<think>", "").replace("</think>", "")
    + "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)

QWEN3_CODER = """
{%- if tools %}
  {{- '<|im_start|>system\\n' }}
  {%- for tool in tools %}{{- tool | tojson }}{%- endfor %}
  {{- '<tool_call>\\n<function=f>\\n<parameter=p>\\nvalue\\n</parameter>\\n</function>\\n</tool_call><|im_end|>' }}
{%- endif %}
{%- for message in messages %}
  {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' }}
{%- endfor %}
"""

LLAMA3 = """
{%- for message in messages %}
  {%- if message.role == 'user' and tools and loop.last %}
    {{- '<|start_header_id|>user<|end_header_id|>\\n\\nRespond in the format {"name": function name, ' }}
    {{- '"parameters": dictionary of argument name and its value}.\\n\\n' + tools | tojson + message.content }}
  {%- else %}
    {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + message.content | trim }}
  {%- endif %}
  {{- '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}
"""

LLAMA31 = LLAMA3 + "{%- if builtin_tools is defined %}{{- '<|python_tag|>' }}{%- endif %}"

INTERNLM2 = """
{%- for message in messages %}
  {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""

INTERN_S1 = (
    """
{%- set thinking_prompt %}Reason first, inside <think> and </think>.{% endset %}
{%- if tools %}
  {{- '<|im_start|>system name=<|plugin|>\\n' + tools | tojson + '<|im_end|>\\n' }}
  {{- 'Call with <|action_start|><|plugin|>{"name": …, "parameters": …}<|action_end|>' }}
{%- endif %}
{%- if enable_thinking is not defined or enable_thinking %}{{- thinking_prompt }}{%- endif %}
"""
    + INTERNLM2
)

DEEPSEEK_R1 = """
{%- for message in messages %}
  {%- if message.role == 'user' %}{{- '<｜User｜>' + message.content }}{%- endif %}
  {%- if message.role == 'assistant' %}
    {{- '<｜Assistant｜>' + message.content.split('</think>')[-1] + '<｜end▁of▁sentence｜>' }}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<｜Assistant｜><think>\\n' }}{%- endif %}
"""

DEEPSEEK_V31 = """
{%- if not thinking is defined %}{%- set thinking = false %}{%- endif %}
{%- for message in messages %}{{- '<｜' + message.role + '｜>' + message.content }}{%- endfor %}
{%- if add_generation_prompt %}{{- '<｜Assistant｜>' + ('<think>' if thinking else '</think>') }}{%- endif %}
"""

GLM = """
{%- if tools %}{{- tools | tojson }}<tool_call>name<arg_key>key</arg_key><arg_value>value</arg_value></tool_call>
{%- endif %}
{%- for message in messages %}{{- '<|' + message.role + '|>\\n' + message.content }}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|assistant|>' + ('<think></think>' if not enable_thinking else '') }}{%- endif %}
"""
