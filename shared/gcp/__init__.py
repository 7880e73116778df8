"""The stores and the queue on Google Cloud: the only place below `shared` that imports `google`."""
