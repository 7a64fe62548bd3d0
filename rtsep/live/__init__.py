"""The live path: one shared-memory block, a compiled callback, a worker process, and readers."""
