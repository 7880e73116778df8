"""The catalogue of targets: the message that Omneo sends to each platform for each notification, and the commands to
see, try and ship it.

`PLATFORM/NOTIFICATION.json.twig` is the body, `PLATFORM/platform.toml` its address and headers, `notifications.toml`
its trigger and the consent that it needs, `contexts/NOTIFICATION.json` an event context to try it with. The functions
are deployed without this folder.
"""
