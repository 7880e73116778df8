"""The whole bundle in one process on one virtual clock, lived through by the seed.

`plans` draws what happens, `history` lives it, `laws` judges the end by what people did. Nothing here sleeps, opens a socket or starts
a thread: product code runs in greenlets, and at every outside call and every call of the store somebody else may act.
"""
