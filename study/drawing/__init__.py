"""Pictures drawn by code: digits and non-digits to train on, and bad pictures to test with."""
