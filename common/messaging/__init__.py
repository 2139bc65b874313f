"""Messages between services: one port, one file a driver."""
