"""How the bundle is put on Google Cloud, on one machine, and looked after. Nothing here ships with a function."""
