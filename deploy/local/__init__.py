"""The same bundle on one machine: gateway, queue emulator, sandbox services. Nothing here ships with a function."""
