"""gRPC as both services use it: the server, the channel, errors."""
