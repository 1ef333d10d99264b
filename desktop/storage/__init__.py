"""Conversations, settings and checkpoint folders on disk. Free of Qt."""
