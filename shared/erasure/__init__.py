"""The right to be forgotten: what is removed of a person, and what of their work in the queue is not done any more."""
