"""Why a profile looks as it does in Klaviyo. It asks the rooms that would act, and sends nothing."""
