"""What a tenant's own address is told, signed: that the account is disconnected or back, that jobs died, that a run has ended."""
