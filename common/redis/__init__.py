"""How whatever keeps something in Redis reaches it: the URL, and connections."""
