"""The catalogue of targets: what Omneo sends to each platform for each notification, and the commands to see, try and ship it.

`PLATFORM/NOTIFICATION.json.twig` is the body, `PLATFORM/platform.toml` where and how it is sent, `notifications.toml` what starts it and who
agreed to it, `contexts/NOTIFICATION.json` an event context to try it with. Nothing here is deployed with the functions.
"""
