"""When a job's window ends and how long a job waits. Pure: the rules get everything that they need as arguments."""
