"""The memory gauge and, later, the Memory page."""
