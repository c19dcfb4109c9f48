"""Offline-RL extensions for Metamon and AMAGO. Importing this package loads neither."""

__version__ = "0.1.0"
