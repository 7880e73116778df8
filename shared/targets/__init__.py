"""Omneo's three targets, in one table: the body that a call must have, and the job that it becomes. The flows' rooms do the jobs."""
