"""What a worker does with one delivery of a task, which code runs which job, and the schedule. The rooms hold what a job does."""
