"""When a job's window ends and how long a job waits. Pure: what the rules need arrives as an argument."""
