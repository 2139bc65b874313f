"""The engines that the suites may use, named by variables; one that is not named is left out, not skipped.

`make test` names none of them, `make test-cluster` all.
"""

import os
from typing import Final

MYSQL_URL: Final = os.environ.get("TEST_MYSQL_URL", "")
"""`mysql://user:password@host:port` of a user who may make databases."""

REDIS_URL: Final = os.environ.get("TEST_REDIS_URL", "")
"""`redis://host:port/0`, shared by all tests: keys need a prefix."""

ROCKETMQ_URL: Final = os.environ.get("TEST_ROCKETMQ_URL", "")
"""`rocketmq://host:port` of a proxy, shared by all tests: topics need a prefix."""

ROCKETMQ_NAMESERVER: Final = os.environ.get("TEST_ROCKETMQ_NAMESERVER", "")
"""`host:port` of that cluster's name server: topics are made there, and the native driver goes there."""

CONSUL_URL: Final = os.environ.get("TEST_CONSUL_URL", "")
"""`consul://host:port`, shared by all tests: services need names of their own."""
