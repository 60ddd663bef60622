"""Mutation testing: small faults put into the code one by one, each of which the tests of its file should notice."""
