"""What both services stand on: clock, server, faults, records of calls, control. No vendor's rule is here."""
