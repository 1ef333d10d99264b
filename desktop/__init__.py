"""Turbodesk: a desktop program for local language models, around LMDeploy."""
