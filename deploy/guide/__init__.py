"""The guide: pages for readers, and what follows from the code: the settings, the notifications and the assumptions."""
