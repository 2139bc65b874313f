"""What both services stand on. It knows nothing of orders or stock."""
