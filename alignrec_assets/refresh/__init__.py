"""How an asset decides what is new, makes it, and records it."""
