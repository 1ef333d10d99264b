"""Readings of the machine: video memory through NVML, host memory. Free of Qt."""
