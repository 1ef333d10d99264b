"""Plain values and arithmetic: no Qt, no input or output, no engine."""
