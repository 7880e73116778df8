"""The stores of one machine. Nothing here is deployed to Google Cloud."""
