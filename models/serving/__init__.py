"""What serving needs: the published transition table, its look-up, and the exploration policy."""
