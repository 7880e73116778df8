"""What becomes of one delivery of a task, which job is run by what, and the schedule. What a job does stands in its room."""
