from tests.redis_server import REDIS_URL

collect_ignore_glob = [] if REDIS_URL else ["test_redis_*.py"]
