"""Records of Omneo's objects for the six Klaviyo data sources, and the outbox in which they wait."""
