"""From landing files to raw tables: which files there are, how they are read, and how they are loaded."""
