"""Layers only: no training loop, no configuration, no data."""
