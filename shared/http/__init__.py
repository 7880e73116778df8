"""One HTTP client for Klaviyo and Omneo: connections, deadlines, and what an answer means."""
