pytest_plugins = ["tests.emulators"]
