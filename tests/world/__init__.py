"""The whole bundle in one process on one virtual clock, played by the seed.

`plans` draws the acts and faults, `history` plays them, `laws` judges the end by the acts of the people. Nothing here
sleeps, opens a socket or starts a thread. Product code runs in greenlets; another greenlet may run at every outside
call and every call of the store.
"""
