"""The rehearsal: settles with a live account what can only be assumed. The product never imports it."""
