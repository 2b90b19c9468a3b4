"""The order of events in a container's life, and how each is undone."""
