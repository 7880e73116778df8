"""HTTP in: the one table of statuses, authentication, bodies, and the counting of calls. The only room that knows Flask."""
