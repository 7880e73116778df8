"""The tables of counts: what counts together, how a table reads, and which numbers mean trouble. Pure."""
