"""The right to be forgotten: the data of a person that is removed, and the person's jobs in the queue that are dropped."""
