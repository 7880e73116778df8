"""The bundle on Google Cloud: scripts that call gcloud, and modules that give the scripts their data.

The scripts take every decision from functions.yaml, routes.yaml, schedules.yaml, firestore.yaml, watching.yaml,
costs.yaml and queues.toml. Only google.py calls a service, for questions for which gcloud has no command.
"""
