"""Texts that mean harm or are merely huge, by name."""

HOSTILE = {
    "NUL": "a\x00b",
    "half surrogates": "a\ud800b\udfff",
    "right to left": "abc \u202e gnirts \u202c שלום",
    "zalgo": "Z\u0351\u036b\u0343\u036a\u0302" * 500,
    "backticks": "`" * 100_000,
    "quotes": ">" * 20_000 + "x",
    "brackets": "[" * 50_000,
    "emphasis": "_*" * 20_000,
    "nested list": "".join("  " * depth + "* x\n" for depth in range(200)),
    "wide table": "|" * 20_000 + "\n" + "|-" * 20_000 + "\n",
    "long table": "| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * 20_000,
    "one line": "x" * 200_000,
    "one line of words": "word " * 40_000,
    "carriage returns": "a\rb\r\nc",
}
