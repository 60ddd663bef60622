"""From files to raw rows: what lies in the landing zone, how it is read, and how it is loaded."""
