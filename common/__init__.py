"""What both services stand on. It knows nothing of orders or stock."""

import os

# Read when grpc is imported: without it, lines of gRPC's own stand above errors that the program explains.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
