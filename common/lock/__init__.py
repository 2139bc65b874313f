"""Locks between replicas: one port, one file a driver."""
