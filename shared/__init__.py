"""The client library and the rules that every function shares."""
