"""Mutants: small changes of the product that the tests should notice. Nothing here runs in CI."""
