"""Checkpoint and restore through CRIU: its messages, a conversation with it, and what it must be told of a container."""
