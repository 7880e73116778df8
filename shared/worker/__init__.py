"""The worker: one delivery of a task, the code for each job, and the schedule. The rooms do the jobs."""
