"""What removes things: what the settings no longer keep, and users who are forgotten."""
