"""The order service: it owns the orders."""
