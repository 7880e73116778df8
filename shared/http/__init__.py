"""One HTTP client for Klaviyo and Omneo: connections, deadlines, and the meaning of an answer."""
