"""The answer to "why does this profile look like this in Klaviyo?" It asks the rooms that would act, and sends nothing."""
