"""The base of both services: clock, server, faults, records of calls, control. No vendor's rule is here."""
