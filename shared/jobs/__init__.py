"""Jobs as they stand in the queue: their models, the queue's client, dead jobs, windows and patience."""
