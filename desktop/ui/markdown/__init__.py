"""A reply as Markdown: parsed while it streams, drawn block by block."""
