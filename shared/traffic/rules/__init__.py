"""What is counted together, how a table of counts reads, and what in it is trouble. Pure."""
