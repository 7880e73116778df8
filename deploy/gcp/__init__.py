"""The bundle on Google Cloud: scripts that call gcloud, and what they are handed by the modules here.

The scripts decide nothing that could be read from functions.yaml, routes.yaml, schedules.yaml, firestore.yaml, watching.yaml,
costs.yaml or queues.toml. Only google.py calls a service, for questions that gcloud has no command for.
"""
