"""Caches that a change makes true again at once: one port, one file a driver."""
