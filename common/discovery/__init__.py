"""How services find each other: one port, one file a driver."""
