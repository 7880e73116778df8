"""Why a profile is what it is in Klaviyo. It asks the rooms that would act, and sends nothing."""
