"""Omneo's three targets, in one table: what a call must hold and which job it becomes. The jobs' work stands in the flows' rooms."""
