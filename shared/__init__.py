"""The client library and the rules that every function shares."""

import gc

# A start makes tens of thousands of objects that stay. To look for garbage among them every 2,000 objects would be a tenth of a cold start.
gc.set_threshold(100_000)
