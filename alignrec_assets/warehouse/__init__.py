"""One database: connections, rows, records, and one description of each table."""
