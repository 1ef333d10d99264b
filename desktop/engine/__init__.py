"""Runs a checkpoint. asyncio, free of Qt."""
