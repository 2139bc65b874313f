"""Messages between services: `port` says what a broker promises, and each driver is a folder."""
