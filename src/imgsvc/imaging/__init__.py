"""The image room: what may come in, and the processes that work on it."""
