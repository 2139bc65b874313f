"""The inventory service: it owns the stock."""
